"""Tables: a known name gives its entry, an unknown one an error that helps."""

import pytest

from doggan.support.errors import InputError
from doggan.support.tables import choose

TABLE = {"hinge": 1, "bce": 2}


def test_a_known_name_gives_its_entry():
    assert choose(TABLE, "bce", "train.loss") == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hinges", "train.loss is 'hinges'; expected one of hinge, bce; the nearest is 'hinge'"),
        ("xyz", "train.loss is 'xyz'; expected one of hinge, bce"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_and_the_nearest(name, words):
    with pytest.raises(InputError) as raised:
        choose(TABLE, name, "train.loss")
    assert str(raised.value) == words
