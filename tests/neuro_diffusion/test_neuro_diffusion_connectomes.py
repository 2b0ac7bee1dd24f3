"""Edge lists as connectomics programs write them: signs, transmitters, gap junctions, sides, rounded ids, undirected networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hdf5io.errors import InputError
from neuro_diffusion.commands.info import _by_its_shape
from neuro_diffusion.files.connectomes import load_connectome
from neuro_diffusion.files.identify import describe

NAMES = ["AVAL", "AVBR", "PVCL", "RIML"]
LINES = [
    ("AVAL", "AVBR", 3.0),
    ("AVBR", "PVCL", 2.0),
    ("PVCL", "AVAL", 5.0),
    ("RIML", "AVAL", 7.0),
    ("PVCL", "RIML", 1.0),
]
EDGES = pd.DataFrame(LINES, columns=["pre", "post", "weight"])
INHIBITS = EDGES.pre == "PVCL"
COUNTS = np.zeros((4, 4))
for source, target, count in LINES:
    COUNTS[NAMES.index(target), NAMES.index(source)] = count
SIGNED = COUNTS * [1, 1, -1, 1]
IDS = [720575940614876401, 720575940636032249, 720575940636722221, 720575940621838881]


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("polarity", np.where(INHIBITS, "inhibitory", "excitatory")),
        ("EI", np.where(INHIBITS, "I", "E")),
        ("type", np.where(INHIBITS, "inhibitory", "excitatory")),
        ("synapse_type", np.where(INHIBITS, "I", "E")),
        ("excitatory", ~INHIBITS),
        ("inhibitory", INHIBITS.astype(int)),
        ("sign", np.where(INHIBITS, -1, 1)),
    ],
)
def test_signs_are_read_in_each_spelling(tmp_path, column, cells):
    EDGES.assign(**{column: cells}).to_csv(tmp_path / "e.csv", index=False)
    np.testing.assert_array_equal(load_connectome(tmp_path / "e.csv").matrix, SIGNED)


def test_a_kind_that_is_no_sign_leaves_counts_as_they_are(tmp_path):
    EDGES.assign(type="Directed").to_csv(tmp_path / "e.csv", index=False)
    np.testing.assert_array_equal(load_connectome(tmp_path / "e.csv").matrix, COUNTS)


def test_a_sign_that_is_none_is_refused_with_its_line(tmp_path):
    EDGES.assign(polarity=["+", "-", "complex", "+", "-"]).to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(InputError, match=r"line 4: polarity 'complex', expected 1 or -1, exc or inh"):
        load_connectome(tmp_path / "e.csv")


def test_two_columns_of_signs_are_asked_about(tmp_path):
    EDGES.assign(polarity="+", sign=1).to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(InputError, match="polarity, sign could all be the sign"):
        load_connectome(tmp_path / "e.csv")


def test_transmitters_give_no_signs_and_it_is_said(tmp_path, caplog):
    frame = EDGES.rename(columns={"pre": "pre_root_id", "post": "post_root_id", "weight": "syn_count"})
    frame.assign(nt_type=np.where(INHIBITS, "GABA", "ACH")).to_csv(tmp_path / "e.csv", index=False)
    np.testing.assert_array_equal(load_connectome(tmp_path / "e.csv").matrix, COUNTS)
    assert "column 'nt_type' (ACH, GABA) names transmitters" in caplog.text


def test_lines_from_either_side_are_refused(tmp_path):
    back = EDGES.rename(columns={"pre": "post", "post": "pre"})
    pd.concat([EDGES.assign(Type="Sp"), back.assign(Type="Rp")]).to_csv(tmp_path / "worm.csv", index=False)
    pd.concat([EDGES.assign(direction="out"), back.assign(direction="in")]).to_csv(tmp_path / "both.csv", index=False)
    for name in ("worm", "both"):
        with pytest.raises(InputError, match="lines seen from either side"):
            load_connectome(tmp_path / f"{name}.csv")


def test_gap_junctions_in_one_word_are_refused_among_synapses(tmp_path):
    EDGES.assign(Type=["Send"] * 4 + ["GapJunction"]).to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(InputError, match="gapjunction, send: gap junctions have no direction"):
        load_connectome(tmp_path / "e.csv")


@pytest.mark.parametrize("form", ["{:.0f}", "{:.1f}"])
def test_ids_that_passed_through_floats_are_refused(tmp_path, form):
    """Large ids in full are read; the same ones as a table of floats prints them belong to other neurons."""
    ids = dict(zip(NAMES, IDS))
    whole = EDGES.assign(pre=EDGES.pre.map(ids), post=EDGES.post.map(ids))
    whole.to_csv(tmp_path / "whole.csv", index=False)
    assert set(load_connectome(tmp_path / "whole.csv").names) == set(map(str, IDS))
    rounded = whole.assign(
        pre=[form.format(float(i)) for i in whole.pre], post=[form.format(float(i)) for i in whole.post]
    )
    rounded.to_csv(tmp_path / "rounded.csv", index=False)
    with pytest.raises(InputError, match="floating point keeps 53 bits"):
        load_connectome(tmp_path / "rounded.csv")


def test_ids_that_passed_through_excel_are_refused_and_one_round_id_is_not(tmp_path):
    def written(ids):
        of = dict(zip(NAMES, ids))
        EDGES.assign(pre=EDGES.pre.map(of), post=EDGES.post.map(of)).to_csv(tmp_path / "e.csv", index=False)
        load_connectome.cache_clear()
        return load_connectome(tmp_path / "e.csv").names

    with pytest.raises(InputError, match="Excel keeps 15 digits"):
        written([i // 1000 * 1000 for i in IDS])
    assert len(written([IDS[0] // 1000 * 1000, *IDS[1:]])) == 4
    assert written([1000, 2000, 3000, 4000]) == ("1000", "2000", "3000", "4000")


def test_an_undirected_network_with_each_edge_once_is_noticed(tmp_path, caplog):
    once = pd.DataFrame(
        [(a, b, 1) for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]], columns=["source", "target", "weight"]
    )
    once.to_csv(tmp_path / "once.csv", index=False)
    load_connectome(tmp_path / "once.csv")
    assert "no path leads back to where it starts" in caplog.text
    caplog.clear()
    EDGES.to_csv(tmp_path / "cycle.csv", index=False)
    load_connectome(tmp_path / "cycle.csv")
    assert "no path" not in caplog.text


def test_a_header_whose_weight_is_a_number_is_no_edge(tmp_path):
    EDGES.rename(columns={"weight": "0"}).to_csv(tmp_path / "stacked.csv", index=False)
    with pytest.raises(InputError, match="which of 0 is the weight"):
        load_connectome(tmp_path / "stacked.csv")


def test_the_last_word_of_a_corner_tells_the_rows(tmp_path):
    """As neuPrint's matrices are written: sources in rows, whose index is called bodyId_pre."""
    pd.DataFrame(COUNTS.T, pd.Index(NAMES, name="bodyId_pre"), NAMES).to_csv(tmp_path / "m.csv")
    np.testing.assert_array_equal(load_connectome(tmp_path / "m.csv").matrix, COUNTS)


def test_neurons_of_one_name_are_not_joined_by_it(tmp_path):
    rows, columns = ["EPG", "EPG", "PEN", "PFL"], ["PEN", "EPG", "EPG", "PFL"]
    pd.DataFrame(COUNTS, rows, columns).to_csv(tmp_path / "m.csv")
    with pytest.raises(InputError, match="several rows are named EPG"):
        load_connectome(tmp_path / "m.csv")


def test_a_list_of_neighbours_is_no_edge_list(tmp_path):
    """As networkx.write_adjlist and write_multiline_adjlist write it."""
    (tmp_path / "adj.txt").write_text("0 1\n1 2 3 0\n2 0\n3 0\n")
    with pytest.raises(InputError, match="line 2 has 4 cells, the first has 2"):
        load_connectome(tmp_path / "adj.txt")
    (tmp_path / "multi.txt").write_text("0 2\n1 {}\n2 {}\n1 1\n0 {}\n2 1\n0 {}\n")
    with pytest.raises(InputError, match="line 2 has 1 cells and data in braces, the first has 2 cells"):
        load_connectome(tmp_path / "multi.txt")


def test_counts_beside_distances_are_asked_about(tmp_path):
    np.savez(tmp_path / "c.npz", counts=COUNTS.astype(int), distance_um=np.ones((4, 4)))
    with pytest.raises(InputError, match="2 arrays could be the square matrix"):
        load_connectome(tmp_path / "c.npz")
    np.testing.assert_array_equal(load_connectome(tmp_path / "c.npz", "counts").matrix, COUNTS)


def test_a_row_that_is_taken_for_a_target_is_said(tmp_path, caplog):
    np.save(tmp_path / "m.npy", COUNTS)
    with caplog.at_level("INFO"):
        load_connectome(tmp_path / "m.npy")
        assert "a row is taken for a target" in caplog.text
        caplog.clear()
        load_connectome(tmp_path / "m.npy", rows="pre")
    assert "is taken for" not in caplog.text


def test_a_table_with_a_clock_is_no_matrix_of_weights(tmp_path):
    (tmp_path / "licks.csv").write_text("time,lick\n1.0,1\n2.0,1\n")
    with pytest.raises(InputError, match="column 'time' counts time"):
        load_connectome(tmp_path / "licks.csv")
    (tmp_path / "w.csv").write_text("t,u\n0,1\n2,0\n")  # a letter may well name a neuron
    assert load_connectome(tmp_path / "w.csv").matrix[1, 0] == 2


def test_numbers_without_names_are_told_by_their_shape_only(tmp_path):
    np.save(tmp_path / "w.npy", np.eye(4)[::-1])
    (tmp_path / "w.csv").write_text("source,target,weight\nA,B,1\nB,A,1\n")
    assert [_by_its_shape(path, describe(path)) for path in (tmp_path / "w.npy", tmp_path / "w.csv")] == [True, False]
