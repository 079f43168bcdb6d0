import pytest

from rlhf_ext._strict_yaml import read_yaml


def write(tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_bytes(text)
    return path


def test_plain_yaml_is_read(tmp_path):
    assert read_yaml(write(tmp_path, b"a: &x {b: 1}\nc:\n  <<: *x\n  d: [2]\n")) == {
        "a": {"b": 1},
        "c": {"b": 1, "d": [2]},
    }


def test_a_key_given_twice_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"file.yaml is no valid YAML: the key 'principles' is given twice(.|\n)*line 2"
    ):
        read_yaml(write(tmp_path, b"principles: [1]\nprinciples: [2]\n"))


@pytest.mark.parametrize(
    "text", [b"a: [1", b"a: \xff", b"!!python/object/apply:os.system ['true']", b"? [a, b]\n: 1\n? {c: 1}\n: 2"]
)
def test_what_is_no_plain_yaml_is_refused_by_file(tmp_path, text):
    with pytest.raises(ValueError, match=r"file.yaml is no valid YAML"):
        read_yaml(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such file: .*none.yaml"):
        read_yaml(tmp_path / "none.yaml")
