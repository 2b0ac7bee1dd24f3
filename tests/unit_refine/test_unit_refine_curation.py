"""Curation files of SpikeInterface (formats 1, 2 and sequences), its GUI, sortingview and figpack: each as it means."""

import json

import pytest

from hdf5io.errors import InputError
from unit_refine.files import label_files
from unit_refine.units import labels

WANTED = {"3": "good", "7": "mua", "12": "noise"}


def read(content, tmp_path, **how):
    (tmp_path / "c.json").write_text(json.dumps(content))
    return label_files.read_label_file(tmp_path / "c.json", **how)


def curated(**more):
    labels = [{"unit_id": int(i), "labels": {"quality": [g]}} for i, g in WANTED.items()]
    definition = {"quality": {"label_options": ["good", "mua", "noise", ""], "exclusive": True}}
    return {
        "format_version": "2",
        "unit_ids": [3, 7, 12],
        "label_definitions": definition,
        "manual_labels": labels,
    } | more


CURATIONS = {
    "format 2": curated(),
    "format 1": curated(format_version="1", manual_labels=[{"unit_id": i, "quality": [g]} for i, g in WANTED.items()]),
    "sortingview": {"labelsByUnit": {i: ["accept", g] for i, g in WANTED.items()}, "mergeGroups": []},
    "a category that is not exclusive": curated(label_definitions={"quality": {"label_options": [], "exclusive": False}}),
    "first draft of format 1": {
        "format_version": 1, "unit_ids": [3, 7, 12], "merged_unit_groups": [], "removed_units": [],
        "label_definitions": {"quality": {"name": "quality", "label_options": ["good", "mua", "noise"], "auto_exclusive": True}},
        "manual_labels": [{"unit_id": i, "label_category": "quality", "labels": g} for i, g in WANTED.items()],
    },
    "first draft with an entry for each category": {
        "format_version": 1, "unit_ids": [3, 7, 12], "label_definitions": {"quality": {}, "putative_type": {}},
        "manual_labels": [e for i, g in WANTED.items() for e in (
            {"unit_id": i, "label_category": "quality", "labels": [g]}, {"unit_id": i, "label_category": "putative_type", "labels": ["pyramidal"]},
        )],
    },
    "sortingview with a word for a list": {"labelsByUnit": WANTED},
    "figpack": {"annotations": {"/": {"sorting_curation": json.dumps({"labelsByUnit": {i: [g] for i, g in WANTED.items()}, "mergeGroups": []})}}},
    "figpack, not packed": {"annotations": {"/": {"sorting_curation": {"labelsByUnit": {i: [g] for i, g in WANTED.items()}}}}},
    "a sequence of one": {"curation_steps": [curated()]},
    "labels beside and under": curated(manual_labels=[{"unit_id": i, "labels": {"quality": [g]}, "tags": ["flag"]} for i, g in WANTED.items()]),
    "tags under, quality beside": curated(manual_labels=[{"unit_id": i, "labels": {"tags": ["flag"]}, "quality": [g]} for i, g in WANTED.items()]),
    "an empty 'quality' beside another category": curated(
        label_definitions={"quality": {}, "verdict": {}}, manual_labels=[{"unit_id": i, "labels": {"quality": [""], "verdict": [g]}} for i, g in WANTED.items()],
    ),
    "definitions in a list": curated(label_definitions=[{"name": "quality", "label_options": ["good", "mua"], "exclusive": True}]),
    "a second category": curated(label_definitions={"quality": {}, "putative": {"label_options": ["pyramidal"], "exclusive": True}}),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CURATIONS))
def test_a_curation_file_is_read_as_it_means(case, tmp_path):
    assert read(CURATIONS[case], tmp_path).labels == WANTED


@pytest.mark.parametrize(
    ("more", "left_out"),
    [
        ({"removed": [7]}, {"7": "removed in this curation"}),
        ({"removed_units": [7]}, {"7": "removed in this curation"}),
        ({"removed": [], "removed_units": [7]}, {"7": "removed in this curation"}),
        ({"merges": None, "splits": None, "removed": None}, {}),
        ({"merges": [{"unit_ids": [3, 7]}]}, dict.fromkeys("37", "merged with others in this curation")),
        ({"merge_unit_groups": [[3, 7]]}, dict.fromkeys("37", "merged with others in this curation")),
        ({"splits": [{"unit_id": 3}]}, {"3": "split in this curation"}),
        (
            {"merges": {"12": [3, 7]}},
            dict.fromkeys("37", "merged with others in this curation"),
        ),  # by the new unit's id
        ({"splits": {"12": [0, 1, 0]}}, {"12": "split in this curation"}),
        ({"split_units": {"12": [[0, 2], [1]]}}, {"12": "split in this curation"}),
    ],
)
def test_units_that_a_curation_removes_merges_or_splits_are_not_learned_from(more, left_out, tmp_path):
    assert read(curated(**more), tmp_path).left_out == left_out


@pytest.mark.parametrize(
    "content",
    [
        [], {}, 3, {"manual_labels": 3}, {"labelsByUnit": []}, {"manual_labels": [{"labels": {}}]}, {"curation_steps": []}, {"curation_steps": [1]},
        curated(format_version="3"), curated(merges=[{"units": [3, 7]}]), {"annotations": {"/": {}}}, {"annotations": {"/": {"sorting_curation": "{"}}},
    ],
)  # fmt: skip
def test_another_json_is_one_line(content, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"c\.json"):
        label_files.read_label_file(tmp_path / "c.json")
    (tmp_path / "c.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"c\.json"):
        label_files.read_label_file(tmp_path / "c.json")


def test_two_qualities_of_one_unit_are_refused(tmp_path):
    (tmp_path / "c.json").write_text(
        json.dumps(curated(manual_labels=[{"unit_id": 3, "labels": {"quality": ["good", "mua"]}}]))
    )
    with pytest.raises(InputError, match="unit 3 has the labels good, mua"):
        label_files.read_label_file(tmp_path / "c.json")


def test_a_sequence_of_curations_is_read_as_spikeinterface_applies_it(tmp_path):
    """Its GUI writes one step for each time that curation was applied: later labels stand, changed units are left out."""
    steps = [
        curated(
            unit_ids=[3, 7, 12, 20, 21, 22], merges=[{"unit_ids": [20, 21], "new_unit_id": 23}],
            manual_labels=[{"unit_id": i, "labels": {"quality": ["noise"]}} for i in (3, 7, 12, 22)],
        ),
        curated(
            unit_ids=[3, 7, 12, 22, 23], removed=[22],
            manual_labels=[*curated()["manual_labels"], {"unit_id": 23, "labels": {"quality": ["good"]}}, {"unit_id": 22, "labels": {"quality": [""]}}],
        ),
        curated(unit_ids=[3, 7, 12, 23], label_definitions={}, manual_labels=[]),
    ]  # fmt: skip
    for content in ({"curation_steps": steps}, steps):
        found = read(content, tmp_path)
        assert found.labels == WANTED | {"22": "", "23": "good"}
        assert found.left_out == dict.fromkeys(("20", "21"), "merged with others in this curation") | {
            "22": "removed in this curation"
        }
    model = pytest.importorskip("spikeinterface.curation.curation_model")
    sequence = model.SequentialCuration(curation_steps=steps[:2])
    assert read(json.loads(sequence.model_dump_json(indent=4)), tmp_path).labels == WANTED | {"22": "", "23": "good"}
    cleared = read([steps[0], curated(unit_ids=[3, 7, 12, 22, 23], manual_labels=[])], tmp_path)
    assert not any(cleared.labels.values())  # the step has the category and calls no unit


@pytest.mark.parametrize("unknown", [["accept"], ["accept", "pyramidal"]])
def test_words_that_only_their_author_knows_are_no_missing_labels(unknown, tmp_path):
    found = read({"labelsByUnit": {"3": ["good"], "7": unknown, "12": ["unsorted", "noise"]}}, tmp_path).labels
    assert found == {"3": "good", "7": " + ".join(unknown), "12": "noise"}
    with pytest.raises(InputError, match="unknown label 'accept"):
        labels.read_labels(list(found.values()), "three_class", "c.json")
    mapping = labels.parse_label_map([f"{' + '.join(unknown)}=mua"])
    assert labels.read_labels(list(found.values()), "three_class", "c.json", mapping)[0] == ["good", "mua", "noise"]


def test_a_curation_files_own_spelling_reaches_the_label_map(tmp_path):
    found = read(curated(manual_labels=[{"unit_id": 3, "labels": {"quality": ["SUA"]}}]), tmp_path).labels
    assert labels.read_labels(list(found.values()), "three_class", "c.json", {"sua": "mua"})[0] == ["mua"]
