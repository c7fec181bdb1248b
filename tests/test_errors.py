"""Errors are for people: their kinds, their exit codes, and the names they suggest."""

import pytest

from phys4d.errors import InputError, MissingFieldError, Phys4DError, Registry, WorkError, unknown_name


def test_exit_codes_tell_the_users_errors_from_the_works():
    assert (InputError("").exit_code, MissingFieldError("").exit_code, WorkError("").exit_code) == (2, 2, 1)
    for kind in (InputError, MissingFieldError, WorkError):
        assert issubclass(kind, Phys4DError)
    assert issubclass(InputError, ValueError)
    assert issubclass(WorkError, RuntimeError)


def scenes() -> Registry[int]:
    registry: Registry[int] = Registry("scene")
    for number, name in enumerate(("ball_drop", "domino_row", "cloth_fall")):
        registry.register(name)(number)
    return registry


def test_registry_holds_what_was_registered_in_order():
    registry = scenes()
    assert list(registry) == ["ball_drop", "domino_row", "cloth_fall"]
    assert len(registry) == 3
    assert registry["domino_row"] == 1
    assert "ball_drop" in registry
    assert "balldrop" not in registry


def test_registering_returns_what_it_was_given():
    @Registry("engine").register("mujoco")
    def engine() -> str:
        return "moves"

    assert engine() == "moves"


def test_unknown_name_lists_the_known_ones_and_the_nearest():
    with pytest.raises(InputError) as caught:
        scenes()["bal_drop"]
    assert str(caught.value) == (
        "unknown scene 'bal_drop'. Did you mean 'ball_drop'?\nKnown: ball_drop, cloth_fall, domino_row."
    )
    assert caught.value.__suppress_context__, "the KeyError behind it is of no use to a person"
    assert unknown_name("teacher", "x", []) == "unknown teacher 'x'.\nKnown: none."
    assert "Did you mean" not in unknown_name("scene", "zzz", ["ball_drop"])


def test_registering_a_name_twice_is_a_programming_error():
    with pytest.raises(ValueError, match="registered twice"):
        scenes().register("ball_drop")
