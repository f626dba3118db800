"""`jcs VERB`: exit codes, one line per error, help."""

import types

import pytest
from absl import flags

from jcs_jax import cli
from jcs_jax.errors import InputError
from jcs_jax.notice import RESEARCH_USE


class _FragileParser(flags.ArgumentParser):
    def parse(self, argument):
        raise AttributeError(f"no option\n{argument}")


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_integer("count", 1, "A number.", flag_values=values)
    flags.DEFINE(_FragileParser(), "fragile", None, "Breaks.", flag_values=values)


@pytest.fixture
def verb(monkeypatch):
    """A verb `probe` whose `run` the test decides."""
    module = types.SimpleNamespace(USAGE="usage: jcs probe", define_flags=_define_flags)
    monkeypatch.setitem(cli.VERBS, "probe", "for tests")
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: module)

    def install(run):
        module.run = run

    return install


def _raise(error: BaseException):
    def run(values, arguments):
        raise error

    return run


def _one_line(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_without_a_verb_the_overview_is_shown_and_the_exit_code_is_2(capsys):
    assert cli.main([]) == 2
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in cli.VERBS)


@pytest.mark.parametrize("argument", ["--help", "-h", "help"])
def test_help_lists_every_verb_and_says_research_use_only(argument, capsys):
    assert cli.main([argument]) == 0
    shown = capsys.readouterr().out
    assert RESEARCH_USE in shown
    assert all(f"  {verb} " in shown for verb in cli.VERBS)


def test_an_unknown_verb_is_refused_with_the_verbs_there_are(capsys):
    assert cli.main(["diagnoze"]) == 2
    line = _one_line(capsys)
    assert "diagnoze" in line
    assert "diagnose" in line


@pytest.mark.parametrize("name", list(cli.VERBS))
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_verb_has_help(name, flag, capsys):
    assert cli.main([name, "argument", flag]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: jcs {name}")
    assert "debug" in shown
    assert RESEARCH_USE in shown


@pytest.mark.parametrize("name", list(cli.VERBS))
def test_every_verb_refuses_a_flag_it_does_not_have(name, capsys):
    assert cli.main([name, "--colour=red"]) == 2
    line = _one_line(capsys)
    assert line.startswith(f"jcs {name}: ")
    assert "colour" in line


def test_flags_and_arguments_reach_the_verb(verb):
    seen = {}

    def run(values, arguments):
        seen.update(count=values.count, arguments=arguments)
        return 0

    verb(run)
    assert cli.main(["probe", "a b", "--count=3", "c"]) == 0
    assert seen == {"count": 3, "arguments": ["a b", "c"]}


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_is_the_verbs(verb, code):
    verb(lambda values, arguments: code)
    assert cli.main(["probe"]) == code


def test_bad_input_is_one_line_and_exit_code_2(verb, capsys):
    verb(_raise(InputError("scan.png: 0 bytes;\n  copy it again")))
    assert cli.main(["probe"]) == 2
    assert _one_line(capsys) == "jcs probe: scan.png: 0 bytes; copy it again\n"


def test_an_unexpected_error_is_one_line_without_traceback_and_exit_code_1(verb, capsys):
    verb(_raise(RuntimeError("lost\nhere")))
    assert cli.main(["probe"]) == 1
    line = _one_line(capsys)
    assert "RuntimeError: lost here" in line
    assert "--debug" in line


def test_an_interrupt_is_one_line_and_exit_code_1(verb, capsys):
    verb(_raise(KeyboardInterrupt()))
    assert cli.main(["probe"]) == 1
    assert "stopped" in _one_line(capsys)


@pytest.mark.parametrize("error", [InputError("bad file"), RuntimeError("lost")])
def test_debug_shows_the_whole_error(verb, error):
    verb(_raise(error))
    with pytest.raises(type(error), match=str(error)):
        cli.main(["probe", "--debug"])


def test_a_flag_of_the_wrong_type_is_refused(verb, capsys):
    verb(lambda values, arguments: 0)
    assert cli.main(["probe", "--count=three"]) == 2
    assert "--count=three" in _one_line(capsys)


def test_whatever_a_flags_parser_raises_is_bad_usage(verb, capsys):
    verb(lambda values, arguments: 0)
    assert cli.main(["probe", "--fragile=stepz"]) == 2
    assert "stepz" in _one_line(capsys)


def test_the_console_script_ends_with_the_exit_code(monkeypatch):
    monkeypatch.setattr("sys.argv", ["jcs", "nonsense"])
    with pytest.raises(SystemExit) as stopped:
        cli.console_main()
    assert stopped.value.code == 2
