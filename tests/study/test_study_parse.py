# ruff: noqa: E501 - a case a line
import os
import re
import subprocess
import sys

import pytest
from study_toys import CATALOG, toml

from scalelab.errors import PluginError, ScalelabError, StudyError
from scalelab.records import Length
from scalelab.space import Doubling, Float
from scalelab.study import Study, embedded_study_path, load_study, parse_study

FULL = """
name = "full-1.0_a"
description = "every table"
seeds = [0, 1]

[dataset]
name = "blips"
options = { n = 500, split = "random" }

[data]
sizes = [0.1, 100, "all"]
seed = 3

[[architecture]]
name = "mlp"
options = { depth = 2 }
space = { width = { type = "doubling", low = 8, high = 64 } }
constraints = ["width >= depth"]

[[architecture]]
name = "mlp"
options = { depth = 4 }

[[optimizer]]
name = "adam"
space = { lr = { type = "float", low = 1e-4, high = 1e-2, log = true } }

[training]
length = { epochs = 5 }
batch_size = 32

[sampling]
method = "sobol"
n = 4
seed = 7
"""


def refused(text, catalog=CATALOG):
    with pytest.raises(ScalelabError) as caught:
        parse_study(text, "s.toml", catalog)
    line = str(caught.value)
    assert line.startswith("s.toml: ")
    assert "\n" not in line
    assert caught.value.exit_code == 2
    return line.removeprefix("s.toml: ")


def test_a_whole_study_is_read():
    study = parse_study(FULL, "full.toml", CATALOG)
    assert isinstance(study, Study)
    assert (study.name, study.description, study.seeds) == ("full-1.0_a", "every table", (0, 1))
    assert study.dataset.options == {"n": 500, "split": "random"}
    assert study.data.sizes == (0.1, 100, "all")
    assert study.data.seed == 3
    assert study.architectures[0].space == {"width": Doubling(8, 64)}
    assert study.architectures[0].constraints[0].text == "width >= depth"
    assert study.optimizers[0].space == {"lr": Float(1e-4, 1e-2, log=True)}
    assert study.training.length == Length(epochs=5)
    assert study.training.batch_size == 32
    assert (study.sampling.method, study.sampling.n, study.sampling.seed) == ("sobol", 4, 7)
    assert study.text == FULL
    assert study.path is None
    assert study.source == "full.toml"


def test_defaults_are_a_grid_of_all_data_and_one_seed():
    study = parse_study(toml(), "s.toml", CATALOG)
    assert study.seeds == (0,)
    assert study.data.sizes == ("all",)
    assert study.sampling.method == "grid"
    assert study.architectures[0].space == {}


def test_one_table_is_a_list_of_one():
    text = toml(architecture='[architecture]\nname = "mlp"')
    assert len(parse_study(text, "s.toml", CATALOG).architectures) == 1


def test_a_study_never_changes():
    study = parse_study(toml(), "s.toml")
    with pytest.raises(ValueError, match="frozen"):
        study.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (toml(head=""), "name: missing"),
        (toml(head='nme = "x"'), "nme: unknown key; did you mean 'name'? (known: name, description, seeds, dataset, data, architecture, optimizer, training, trainer, sampling, refit, command, trials) (and 1 more)"),
        (toml(head="name = 3"), "name = 3: must be a string"),
        (toml(head='name = "a b"'), "name = 'a b': must be letters, digits, '-', '_' and '.', 100 at most, the first a letter or a digit"),
        (toml(head='name = ""'), "name = '': must be letters"),
        (toml(head='name = "a\\n"'), r"name = 'a\n': must be letters"),
        (toml(head='name = "a"\nseeds = []'), "seeds = []: must not be empty"),
        (toml(head='name = "a"\nseeds = [0, "1"]'), "seeds[1] = '1': must be a whole number"),
        (toml(head='name = "a"\nseeds = [true]'), "seeds[0] = True: must be a whole number"),
        (toml(head='name = "a"\nseeds = [-1]'), "seeds[0] = -1: must be at least 0"),
        (toml(head='name = "a"\nseeds = [2, 2]'), "seeds[1] = 2: is listed twice"),
        (toml(head='name = "a"\nseeds = 3'), "seeds = 3: must be a list"),
        (toml(head='name = "a"\npath = "x"'), "path: unknown key"),
        (toml(head='name = "a"\ntext = "x"'), "text: unknown key"),
        (toml(head='name = 2020-01-01'), "name = 2020-01-01: a study has no dates; write a string in quotes"),
        (toml("[data]\nsizes = [0.5, 1.0]"), "data.sizes[1] = 1.0: must be a fraction between 0 and 1, a count of 1 or more, or 'all'"),
        (toml("[data]\nsizes = [true]"), "data.sizes[0] = True: must be a fraction"),
        (toml("[data]\nsizes = [0]"), "data.sizes[0] = 0: must be a fraction"),
        (toml("[data]\nsizes = [-0.5]"), "data.sizes[0] = -0.5: must be a fraction"),
        (toml("[data]\nsizes = ['al']"), "data.sizes[0] = 'al': must be a fraction"),
        (toml("[data]\nsizes = []"), "data.sizes = []: must not be empty"),
        (toml("[data]\nsizes = [nan]"), "data.sizes[0] = nan: must be a finite number"),
        (toml("[data]\nsizes = [1, 5, 1]"), "data.sizes[2] = 1: is listed twice"),
        (toml("[data]\nszes = [1]"), "data.szes: unknown key; did you mean 'sizes'? (known: sizes, seed)"),
        (toml("[training]\nbatch_size = 0"), "training.batch_size = 0: must be at least 1"),
        (toml("[training]\nbatch_size = '64'"), "training.batch_size = '64': must be a whole number"),
        (toml("[training]\nbatch_size = 1.5"), "training.batch_size = 1.5: must be a whole number"),
        (toml("[training]\nbatch_size = 99999999999999999999"), "training.batch_size = 99999999999999999999: must fit into 64 bits"),
        (toml("[training]\nwarmup = 1.0"), "training.warmup = 1.0: must be below 1"),
        (toml("[training]\nwarmup = -inf"), "training.warmup = -inf: must be a finite number"),
        (toml("[training]\nschedule = 'cosin'"), "training.schedule = 'cosin': must be 'cosine', 'constant', 'exponential' or 'linear-cooldown'; did you mean 'cosine'?"),
        (toml("[training]\nschedul = 'cosine'"), "training.schedul: unknown key; did you mean 'schedule'?"),
        (toml("[training]\naugment = 1"), "training.augment = 1: must be true or false"),
        (toml("[training]\nlength = { steps = 5, epochs = 1 }"), "training.length = {'steps': 5, 'epochs': 1}: give exactly one of steps, epochs, examples, flops"),
        (toml("[training]\nlength = {}"), "training.length = {}: give exactly one of"),
        (toml("[training]\nlength = 5"), "training.length = 5: must be a table"),
        (toml("[training]\nlength = { epochs = 0 }"), "training.length.epochs = 0: must be above 0"),
        (toml("[training]\nclip_norm = 'no'"), "training.clip_norm = 'no': must be a number"),
        (toml("training = { schedule = 'cosin' }"), "optimizer[1].training.schedule = 'cosin': must be 'cosine', 'constant', 'exponential' or 'linear-cooldown'; did you mean 'cosine'?"),
        (toml("training = { batch_size = 8 }"), "optimizer[1].training.batch_size: unknown key"),
        (toml("training = { clip_norm = 0 }"), "optimizer[1].training.clip_norm = 0: must be above 0"),
        (toml("training = 'constant'"), "optimizer[1].training = 'constant': must be a table"),
        (toml("[training]\nschedule = 'linear-cooldown'\nwarmup = 0.5\ncooldown = 0.6"), "training: warmup = 0.5 and cooldown = 0.6 overlap: together they may be 1, all of the steps, at most"),
        (toml("training = { warmup = 0.9 }\n[training]\nschedule = 'linear-cooldown'"), "optimizer[1].training: warmup = 0.9 and cooldown = 0.2 overlap"),
        (toml("training = { schedule = 'exponential', final_lr = 0 }"), "optimizer[1].training: schedule = 'exponential' needs final_lr above 0"),
        (toml("training = { schedule = 'exponential' }\n[training]\nfinal_lr = 0"), "optimizer[1].training: schedule = 'exponential' needs final_lr above 0"),
        (toml("tune = { lr = { start = 0.1 } }\ntraining = { warmup = 0.1 }"), "optimizer[1].training.warmup = 0.1: a sweep needs 0.2 or more"),
        (toml("[sampling]\nmethod = 'random'"), "sampling.n: missing; method = 'random' needs the number of points to draw"),
        (toml("[sampling]\nmethod = 'sobl'\nn = 3"), "sampling.method = 'sobl': must be 'grid', 'random', 'sobol' or 'isoflop'; did you mean 'sobol'?"),
        (toml("[sampling]\nn = 0"), "sampling.n = 0: must be at least 1"),
        (toml("[sampling]\nmodels = 3"), "sampling.models: only method = 'isoflop' uses it; the method is 'grid'"),
        (toml("[sampling]\nmethod = 'isoflop'"), "sampling.budgets: missing; method = 'isoflop' needs a list"),
        (toml("[sampling]\nmethod = 'isoflop'\nbudgets = [0]"), "sampling.budgets[0] = 0: must be above 0"),
        (toml("[sampling]\nmethod = 'isoflop'\nbudgets = [1e9]\n[training]\nlength = { steps = 3 }"), "training.length: leave it out; with isoflop sampling the budgets set it"),
        (toml("sampling = 3"), "optimizer[1].sampling: unknown key"),
        ("name = 'x'\ndataset = 3\narchitecture = []\noptimizer = [3]", "dataset = 3: must be a table (and 2 more)"),
        ("name = 'x'\ndataset.name = 'blips'\narchitecture = []\noptimizer = [3]", "architecture = []: must not be empty (and 1 more)"),
        (toml("[[optimizer]]\nname = 'sgd'"), "optimizer[2].name = 'sgd': the same as optimizer[1], options and all; give it other options or leave it out"),
        (toml("[[optimizer]]\nname = 'sgd'\nspace = 'defaut'"), "optimizer[2].space = 'defaut': must be 'default' or a table of dimensions"),
        (toml("[[optimizer]]\nname = 'sgd'\nspace.lr = { type = 'float', low = 0 }"), "optimizer[2].space.lr.high: missing; 'float' needs it"),
        (toml("[[optimizer]]\nname = 'sgd'\nspace.lr = { type = 'int', low = 9, high = 1 }"), "optimizer[2].space.lr.high = 1: must be at least low, which is 9"),
        (toml("[[optimizer]]\nname = 'sgd'\nconstraints = ['lr > 1', 'lr']"), "optimizer[2].constraints[1] = 'lr': must be a comparison"),
        (toml("[[optimizer]]\nname = 'sgd'\nconstraints = [3]"), "optimizer[2].constraints[0] = 3: a constraint is a string"),
        (toml("[[optimizer]]\nname = 'sgd'\nconstraints = ['{} > {a}']"), "optimizer[2].constraints[0] = '{} > {a}': '{}' is not allowed"),
        (toml("[[optimizer]]\nname = ''"), "optimizer[2].name = '': must not be empty"),
        ("x = [", "not TOML: "),
        ("[[[", "not TOML: "),
        ("a" + ".a" * 200 + " = 1", "a key of more than 100 parts"),
        ("a" + ".a" * 50 + " = 1", "a.a.a…: nested more than 20 levels deep"),
        ("x = " + "[" * 30 + "]" * 30, "x[0][0]…: nested more than 20 levels deep"),
        ("x = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("x = 0x" + "f" * 9000, "x = a huge number: must fit into 64 bits"),
        ("x = " + "9" * 9000, "not TOML: "),
        ('"a\\nb" = 1', "'a\\nb': unknown key"),
        ('name = "' + "x" * 5000 + '"', "name = 'xxxxxxxx"),
    ],
)  # fmt: skip
def test_a_wrong_file_gets_one_line_that_names_key_and_value(text, line):
    assert refused(text).startswith(line)


def test_broken_toml_names_line_and_column():
    assert refused("name = 'x'\nseeds = [0,, 1]\n") == "not TOML: Invalid value (at line 2, column 12)"
    assert refused("name = 'x'\nseeds = [0") == "not TOML: Unclosed array (at line 2, column 11, the end)"
    assert refused("a = 1\na = 2").endswith("Cannot overwrite a value (at line 2, column 6, the end)")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (toml().replace('"blips"', '"blip"'), "dataset.name = 'blip': no dataset is named 'blip'; did you mean 'blips'?"),
        (toml().replace('"mlp"', '"mpl"'), "architecture[0].name = 'mpl': no architecture is named 'mpl'; did you mean 'mlp'?"),
        (toml().replace('"sgd"', '"sdg"'), "optimizer[1].name = 'sdg': no optimizer is named 'sdg'; did you mean 'sgd'?"),
    ],
)  # fmt: skip
def test_an_unknown_component_is_a_plugin_error_with_its_place(text, line):
    assert refused(text) == line
    with pytest.raises(PluginError):
        parse_study(text, "s.toml", CATALOG)
    assert parse_study(text, "s.toml").name == "toy"  # without plugins, components are not looked up


def test_files_that_cannot_be_read_get_one_line(tmp_path):
    def line(path):
        with pytest.raises(StudyError) as caught:
            load_study(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert line(tmp_path / "no.toml") == f"{tmp_path}/no.toml: cannot be read: No such file or directory"
    assert line(tmp_path) == f"{tmp_path}: cannot be read: it is a folder, not a file"
    assert line("a\0b").startswith("a b: cannot be read: embedded null byte")
    assert "cannot be read: File name too long" in line("a" * 5000)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'name = "x"\ndescription = "\xe9"')
    assert line(latin) == f"{latin}: line 2: byte 0xe9 is not UTF-8; save it as UTF-8"
    binary = tmp_path / "binary.toml"
    binary.write_bytes(os.urandom(2_000_000))
    assert "larger than 1,000,000 bytes" in line(binary)
    assert line("/dev/zero") == "/dev/zero: cannot be read: it is a device, not a file"
    if os.geteuid() != 0:
        secret = tmp_path / "secret.toml"
        secret.touch(mode=0)
        assert line(secret).endswith("cannot be read: Permission denied")


def test_a_file_may_start_with_a_byte_order_mark_and_end_lines_as_windows_does(tmp_path):
    path = tmp_path / "s.toml"
    path.write_bytes(b"\xef\xbb\xbf" + toml().replace("\n", "\r\n").encode())
    study = load_study(str(path), CATALOG)
    assert study.path == path
    assert study.source == str(path)


def test_the_embedded_study_is_valid():
    study = load_study(embedded_study_path())
    assert study.dataset.name == "synthetic-ecg"
    assert [entry.name for entry in study.optimizers] == ["adamw"]
    assert len(study.seeds) == 2


def test_loading_a_study_imports_nothing_heavy():
    code = (
        "import sys; from scalelab.study import load_study, embedded_study_path; load_study(embedded_study_path());"
        "print(sorted({'torch', 'numpy', 'scipy', 'pandas', 'duckdb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_messages_are_short():
    line = refused(toml(head='name = "a"\ndescription = "' + "x" * 20_000 + '"'))
    assert len(line) < 200
    assert re.match(r"description = 'x+…: ", line)
