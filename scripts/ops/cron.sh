#!/bin/bash
# Two cron runs at once, in cron's empty environment (LANG=C, no HOME, no PATH): does one work while the other exits 4?
# scripts/ops/cron.sh BIN INPUTS: BIN holds the commands; INPUTS is as for dask_workers.py. One line a command; exit 1 where it is otherwise.
bin=$(realpath "$1") inputs=$(realpath "$2") place=$(mktemp -d) wrong=0
cd "$place" || exit 2
twice() {
  name=$1; shift
  env -i LANG=C ${PYTHONPATH:+PYTHONPATH=$PYTHONPATH} "$bin/$@" --quiet >"$name.1.out" 2>"$name.1.err" & first=$!
  env -i LANG=C ${PYTHONPATH:+PYTHONPATH=$PYTHONPATH} "$bin/$@" --quiet >"$name.2.out" 2>"$name.2.err" & second=$!
  wait $first; a=$?
  wait $second; b=$?
  codes=$(printf '%s\n' $a $b | sort -n | tr '\n' ' ')
  lines=$(cat "$name".?.err | wc -l) tracebacks=$(grep -l Traceback "$name".?.err | wc -l)
  echo "$name: exit codes $codes($lines lines of stderr, $tracebacks tracebacks): $(cat "$name".?.err | tail -n 1)"
  [ "$codes" = "0 4 " ] && [ "$lines" = 1 ] && [ "$tracebacks" = 0 ] || wrong=1
}
twice laa_simulate laa-bayes simulate --n 1024 --shard-size 128 --output bank
twice nd_build neuro-diffusion build-dataset --output data --num_networks 400 --N 8 --T 40 --shard-size 40
twice glm_infer glm-rates infer "$inputs/rec1" --output rates.h5 --plot-units 1 --blech-clust-env none
twice meso_compare meso-forecast compare "$inputs/session1.h5" --models persistence,ar --output comparison
twice unit_predict unit-refine predict "$inputs/unit_model" "$inputs/units1.csv" --output labels.csv
twice glm_batch glm-rates batch "$inputs/rec1" --output study_glm --options plot_units=1 --options blech_clust_env=none
twice nd_train neuro-diffusion train-prior data --output prior --iterations 24 --width 8 --hidden 16 --depth 1 --batch 8
rm -rf "$place"
exit $wrong
