# SPDX-License-Identifier: Apache-2.0
"""JSON read entry by entry is what reading it whole gives, and entries are found again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.errors import InputError
from vitruvian.formats import stream

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(content=st.dictionaries(st.text(), VALUES, max_size=5), spaces=st.sampled_from([None, 2]),
       plain=st.booleans())  # fmt: skip
def test_objects_are_what_they_are_whole(tmp_path_factory, content, spaces, plain):
    path = tmp_path_factory.mktemp("s") / "a.json"
    path.write_text(json.dumps(content, indent=spaces, ensure_ascii=plain), encoding="utf-8")
    found = {}
    for entry in stream.entries(path, list(content)):
        if entry.listed:
            found.setdefault(entry.key, []).append(entry.value)
        else:
            found[entry.key] = entry.value
    assert found == {key: value for key, value in content.items() if value != []}


@pytest.mark.parametrize("piece", [1, 7, 64, 1 << 20])
def test_entries_are_found_again_wherever_pieces_end(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(stream, "_PIECE", piece)
    people = [{"owner": n % 3, "name": "Zoë " * n, "xy": [n / 7, 12345678]} for n in range(9)]
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(people, ensure_ascii=False).encode())
    places = stream.Places(path)
    for entry in stream.entries(path):
        assert entry.value == people[len(entry.value["name"]) // 4]
        places.add(entry.value["owner"], entry)
    assert places.owners().tolist() == [0, 1, 2]
    for owner in range(3):
        assert places.read(owner) == people[owner::3]
    assert places.read(7) == []
    path.write_text("[]")
    with pytest.raises(InputError, match="changed while it was read"):
        places.read(1)


@pytest.mark.parametrize(
    "text", ["", "[1, 2", '{"a": 1', "[1,]", "[1] 2", "{1: 2}", '{"a" 1}', "[1 2]", "nul", "[NaNa]"]
)
def test_what_is_no_json_is_said(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.json: not a JSON file .*at byte"):
        list(stream.entries(path, ("a",)))
    with pytest.raises(InputError, match="cannot be read"):
        list(stream.entries(tmp_path / "b.json"))


def test_a_file_may_be_one_value(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(" 17 ")
    assert [(e.key, e.value, e.listed) for e in stream.entries(path)] == [("", 17, False)]
