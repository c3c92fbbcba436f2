"""On which line of a TOML file something stands."""

import tomllib

import pytest

from rbd_connect.config.toml_lines import lines_of

TEXT = """\
# settings
insecure = true

[listen] # where
http = "x"
"grpc" = [ # of several lines
    "a]",
    "b",
]
probes.deep.er = 1

[[grants]]
subjects = "a"
text = '''
[[grants]]
subjects = "no header"
'''
claims = { groups = ["x"], roles = "y" }

[[ grants ]]
[grants.claims]
groups = "x"
[[grants.inner]]
a = 1
[[grants.inner]]
a = 2
[scopes."a.b".c]
d = 1
"""


def test_each_key_has_the_line_on_which_it_begins() -> None:
    assert tomllib.loads(TEXT)
    lines = lines_of(TEXT)
    expected = {
        ("insecure",): 2,
        ("listen",): 4,
        ("listen", "http"): 5,
        ("listen", "grpc"): 6,
        ("listen", "grpc", 1): 6,
        ("listen", "probes"): 10,
        ("listen", "probes", "deep", "er"): 10,
        ("grants", 0): 12,
        ("grants", 0, "subjects"): 13,
        ("grants", 0, "text"): 14,
        ("grants", 0, "claims"): 18,
        ("grants", 0, "claims", "roles"): 18,
        ("grants", 1): 20,
        ("grants", 1, "claims"): 21,
        ("grants", 1, "claims", "groups"): 22,
        ("grants", 1, "inner", 0): 23,
        ("grants", 1, "inner", 0, "a"): 24,
        ("grants", 1, "inner", 1): 25,
        ("grants", 1, "inner", 1, "a"): 26,
        ("scopes", "a.b", "c"): 27,
        ("scopes", "a.b", "c", "d"): 28,
    }
    assert {key: lines.get(key) for key in expected} == expected


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing", "a = 1", "a = '''\n'''\n\nb = 1"])
def test_every_key_has_one(text: str) -> None:
    assert {key[0] for key in lines_of(text)} == set(tomllib.loads(text))
