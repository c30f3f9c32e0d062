"""The loader on single files, selections, and the checks of descriptors."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

import scalelab
from scalelab import testing
from scalelab.errors import PluginError
from scalelab.plugins import Catalog, load_plugins, options_of, verify_component
from scalelab.plugins.selection import Selection

PLUGIN = """
import scalelab
def open_nothing(params):
    raise scalelab.DataError("no data")
@scalelab.hookimpl
def scalelab_datasets():
    return [scalelab.Dataset(name={name!r}, summary="For a test", open=open_nothing)]
"""


def write(folder: Path, file: str, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(PLUGIN.format(name=name))
    return folder


ODD = """
import scalelab
class Odd:
    def __eq__(self, other): raise RuntimeError("eq")
    def __repr__(self): raise RuntimeError("repr")
    __hash__ = None
@scalelab.hookimpl
def scalelab_optimizers():
    return [scalelab.Optimizer(name="odd", summary="x", build=print, **{{"{field}": Odd()}})]
"""


def load(*folders, select=None):
    """Loads the folders' plugins, and no bundled one."""
    names = ",".join(sorted({p.stem for f in folders for p in Path(f).glob("[!_]*.py")}))
    return load_plugins(plugins_dirs=folders, select=names if select is None else select)


def info(catalog, name):
    return next(plugin for plugin in catalog.plugins if plugin.name == name)


class TestFiles:
    def test_each_file_is_a_plugin(self, tmp_path):
        write(tmp_path, "one.py", "first")
        write(tmp_path, "two.py", "second")
        write(tmp_path, "_shared.py", "third")
        catalog = load(tmp_path)
        assert catalog.names("dataset") == ("first", "second")
        provenance = catalog.provenance("dataset", "first")
        assert (provenance.plugin, provenance.distribution) == ("one", "file")
        assert len(provenance.version) == 12

    def test_version_follows_the_text(self, tmp_path):
        before = load(write(tmp_path, "one.py", "first")).provenance("dataset", "first")
        catalog = load(write(tmp_path, "one.py", "fresh"))
        assert catalog.names("dataset") == ("fresh",), "an edit is seen at once, whatever bytecode is cached"
        assert catalog.provenance("dataset", "fresh").version != before.version

    def test_files_share_a_module(self, tmp_path):
        (tmp_path / "_common_of_this_test.py").write_text("NAME = 'shared'\n")
        text = PLUGIN.format(name="x").replace("'x'", "_common_of_this_test.NAME")
        (tmp_path / "one.py").write_text("import _common_of_this_test\n" + text)
        assert load(tmp_path).names("dataset") == ("shared",)

    def test_missing_folder(self, tmp_path):
        with pytest.raises(PluginError, match="no such folder"):
            load_plugins(plugins_dirs=[tmp_path / "absent"])
        (tmp_path / "file.py").write_text("")
        with pytest.raises(PluginError, match="not a folder"):
            load_plugins(plugins_dirs=[tmp_path / "file.py"])

    def test_empty_folder_is_fine(self, tmp_path):
        assert load_plugins(plugins_dirs=[tmp_path], select="mitbih").names("architecture") == ()

    def test_folder_given_twice_counts_once(self, tmp_path):
        write(tmp_path, "one.py", "first")
        catalog = load(tmp_path, tmp_path / ".." / tmp_path.name)
        assert catalog.names("dataset") == ("first",)
        assert catalog.plugins_dirs == (tmp_path.resolve(),)

    def test_file_shadows_nothing(self, tmp_path):
        write(tmp_path, "mine.py", "mitbih")
        catalog = load_plugins(plugins_dirs=[tmp_path], select="mine,mitbih")
        with pytest.raises(
            PluginError, match=r"mitbih \(scalelab .*\) and mine \(.*mine\.py\), so neither"
        ) as caught:
            catalog.dataset("mitbih")
        assert "SCALELAB_PLUGINS=-mine" in str(caught.value)
        assert (
            load_plugins(plugins_dirs=[tmp_path], select="-mitbih").dataset("mitbih").summary == "For a test"
        )

    def test_two_files_of_one_name_are_told_apart_by_their_folder(self, tmp_path):
        write(tmp_path / "a", "one.py", "first")
        write(tmp_path / "b", "one.py", "first")
        catalog = load(tmp_path / "a", tmp_path / "b")
        with pytest.raises(PluginError, match=r"/a/one\.py.*/b/one\.py"):
            catalog.dataset("first")

    def test_name_that_a_bundled_plugin_has_is_chosen_with_its_distribution(self, tmp_path):
        write(tmp_path, "mitbih.py", "mitbih")
        with pytest.raises(
            PluginError, match="SCALELAB_PLUGINS=-mitbih@scalelab or SCALELAB_PLUGINS=-mitbih@file"
        ):
            load_plugins(plugins_dirs=[tmp_path], select="mitbih").dataset("mitbih")
        catalog = load_plugins(plugins_dirs=[tmp_path], select="-mitbih@scalelab")
        assert catalog.provenance("dataset", "mitbih").distribution == "file"

    def test_file_that_cannot_be_read_is_a_broken_plugin(self, tmp_path):
        (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
        plugin = info(load(tmp_path), "gone")
        assert plugin.status == "broken"
        assert "link to nowhere" in plugin.problem

    def test_line_of_a_failing_file(self, tmp_path):
        (tmp_path / "bad.py").write_text("x = 1\n\nraise ValueError('two\\nlines')\n")
        problem = info(load(tmp_path), "bad").problem
        assert problem == f"importing it raised ValueError: two lines ({tmp_path / 'bad.py'}, line 3)"

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("raise GeneratorExit\n", "importing it raised GeneratorExit"),
            ("raise BaseException('base \\udcff')\n", "importing it raised BaseException: base \\udcff"),
            (
                "class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E\n",
                "E: its text cannot be",
            ),
            (ODD.format(field="version"), "version must be a whole number of 1 or more, got a Odd"),
            (
                ODD.format(field="closure"),
                "checking what scalelab_optimizers() gives raised RuntimeError: eq",
            ),
        ],
    )
    def test_whatever_a_plugin_raises_or_gives_is_its_problem(self, tmp_path, text, words):
        (tmp_path / "bad.py").write_text(text)
        assert words in info(load(tmp_path), "bad").problem

    def test_interrupt_is_not_swallowed(self, tmp_path):
        (tmp_path / "stop.py").write_text("raise KeyboardInterrupt\n")
        with pytest.raises(KeyboardInterrupt):
            load(tmp_path)

    def test_components_pickle_by_name(self, tmp_path):
        import pickle

        dataset = load(write(tmp_path, "one.py", "first")).dataset("first")
        assert pickle.loads(pickle.dumps(dataset)) == dataset

    def test_a_function_of_a_file_is_found_in_a_process_that_loaded_no_plugin(self, tmp_path):
        import pickle
        import sys

        opened = load(write(tmp_path, "one.py", "first")).dataset("first").open
        pickled = pickle.dumps(opened)
        del sys.modules[opened.__module__]
        assert pickle.loads(pickled).__code__ == opened.__code__
        with pytest.raises(ModuleNotFoundError):
            __import__("scalelab.file_plugins.file_00000000_one")

    def test_one_bad_component_breaks_its_plugin(self, tmp_path):
        text = PLUGIN.format(name="good") + (
            "@scalelab.hookimpl\ndef scalelab_optimizers():\n    return [scalelab.Device('cpu')]\n"
        )
        (tmp_path / "half.py").write_text(text)
        catalog = load(tmp_path)
        assert catalog.names("dataset") == ()
        assert info(catalog, "half").components == {"dataset": ("good",)}
        with pytest.raises(
            PluginError, match=r"dataset 'good' cannot be used: plugin half .* is broken: scalelab_opt"
        ):
            catalog.dataset("good")

    def test_same_name_twice_in_one_plugin(self, tmp_path):
        text = PLUGIN.format(name="x").replace("return [", "return 2 * [")
        (tmp_path / "twice.py").write_text(text)
        assert "2 components called 'x'" in info(load(tmp_path), "twice").problem


class TestSelection:
    def test_environment_is_the_default(self, tmp_path, monkeypatch):
        write(tmp_path, "one.py", "first")
        monkeypatch.setenv("SCALELAB_PLUGINS", "one")
        catalog = load_plugins(plugins_dirs=[tmp_path])
        assert catalog.select == "one"
        assert catalog.names("optimizer") == ()

    def test_catalog_can_be_loaded_again_elsewhere(self, tmp_path, monkeypatch):
        write(tmp_path, "one.py", "first")
        first = load_plugins(plugins_dirs=[tmp_path], select="-mitbih")
        monkeypatch.setenv("SCALELAB_PLUGINS", "one")
        again = load_plugins(plugins_dirs=first.plugins_dirs, select=first.select)
        assert again.names("dataset") == first.names("dataset")
        assert again.names("optimizer") == first.names("optimizer")

    def test_empty_selects_everything(self, monkeypatch):
        monkeypatch.setenv("SCALELAB_PLUGINS", "mitbih")
        assert "adamw" in load_plugins(select="").names("optimizer")

    @given(
        st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True), min_size=1, max_size=5), st.booleans()
    )
    def test_lists_are_each_other_s_opposite(self, names, block):
        text = ",".join(f" -{name} " if block else f"{name}" for name in names)
        selection = Selection.parse(text)
        for name in [*names, "another-one"]:
            assert selection.allows(name, "d") is ((name in names) is not block)
            assert selection.allows(name, "d") is not Selection(selection.names, not block).allows(name, "d")

    @given(st.text(max_size=30))
    def test_any_text_is_read_or_refused(self, text):
        try:
            Selection.parse(text).check([("one", "d")])
        except PluginError as error:
            message = str(error)
        else:
            message = "SCALELAB_PLUGINS is fine"
        assert "SCALELAB_PLUGINS" in message


class TestVerify:
    @pytest.mark.parametrize("name", ["toy", "a", "1d", "conv-next_1.d"])
    def test_names(self, name):
        verify_component(dataclasses.replace(testing.toy_dataset, name=name))

    @pytest.mark.parametrize("name", ["", "Toy", "a b", "-a", ".a", "a/b", "ä", None, 3])
    def test_bad_names(self, name):
        with pytest.raises(PluginError, match="a name is lower-case letters"):
            verify_component(dataclasses.replace(testing.toy_dataset, name=name))

    @pytest.mark.parametrize(
        ("component", "fields", "message"),
        [
            ("dataset", {"summary": " "}, "summary must be one line of text, got str ' '"),
            ("dataset", {"open": "file.csv"}, "open must be a function, got str 'file.csv'"),
            ("dataset", {"params": int}, "params must be a subclass of scalelab.Params, got the class int"),
            ("dataset", {"params": scalelab.NoParams()}, "got NoParams NoParams()"),
            ("dataset", {"version": 0}, "version must be a whole number of 1 or more, got 0"),
            ("dataset", {"version": True}, "version must be"),
            ("architecture", {"space": []}, "space must map option names to dimensions, got list []"),
            (
                "architecture",
                {"space": {"widht": scalelab.Int(1, 2)}},
                "space names 'widht', which is not an option; did",
            ),
            (
                "architecture",
                {"space": {"width": (1, 2)}},
                "space['width'] must be one of Int, Float, Choice, Doubling",
            ),
            ("architecture", {"constraints": "width > 1"}, "constraints must be a tuple of strings"),
            ("architecture", {"constraints": ("width >",)}, "constraint 'width >': must be"),
            (
                "architecture",
                {"constraints": ("depth > 1",)},
                "constraint 'depth > 1' names 'depth', which is no",
            ),
            ("optimizer", {"closure": True}, "closure must be 'whole', 'after' or None"),
            ("optimizer", {"evaluations": 2}, "evaluations must be a function or None"),
            ("architecture", {"features": {}}, "features must be a function or None"),
            ("architecture", {"head": 1}, "head must be the name of a submodule or None"),
            ("architecture", {"head": "\udcff"}, "head must be the name of a submodule or None"),
            ("optimizer", {"build": None}, "build must be a function, got None"),
            ("backend", {"devices": ["cpu"]}, "devices must be a function"),
            ("backend", {"load": 1}, "load must be a function"),
            ("backend", {"packages": "torch"}, "packages must be a tuple of distribution names"),
            ("backend", {"params": scalelab.NoParams}, "params must be a subclass of scalelab.BackendParams"),
        ],
    )
    def test_bad_fields(self, component, fields, message):
        broken = dataclasses.replace(getattr(testing, f"toy_{component}"), **fields)
        with pytest.raises(PluginError) as caught:
            verify_component(broken)
        assert message in str(caught.value)
        assert str(caught.value).startswith(f"{component} 'toy-")


class TestCatalog:
    def test_empty(self):
        with pytest.raises(PluginError, match="there is no dataset 'x'; known datasets: none"):
            Catalog().dataset("x")

    def test_components_of_one_s_own(self):
        catalog = Catalog().with_components(testing.toy_dataset)
        assert catalog.dataset("toy-blobs") is testing.toy_dataset
        assert catalog.provenance("dataset", "toy-blobs").plugin == "session"
        twice = catalog.with_components(testing.toy_dataset, plugin="again")
        with pytest.raises(PluginError, match=r"session .* and again"):
            twice.dataset("toy-blobs")
        assert catalog.names("dataset") == ("toy-blobs",), "a catalog never changes"

    def test_unsound_component_of_one_s_own(self):
        with pytest.raises(PluginError, match="version must be"):
            Catalog().with_components(dataclasses.replace(testing.toy_dataset, version=-1))

    def test_every_kind(self):
        catalog = testing.toy_catalog()
        found = (
            catalog.dataset("toy-blobs"), catalog.architecture("toy-conv"),
            catalog.optimizer("toy-sgd"), catalog.backend("toy-eager"),
        )  # fmt: skip
        assert found == (
            testing.toy_dataset, testing.toy_architecture, testing.toy_optimizer, testing.toy_backend,
        )  # fmt: skip

    def test_name_that_is_no_text(self):
        with pytest.raises(PluginError, match="3 is not the name of a dataset"):
            Catalog().dataset(3)


class TestOptions:
    def test_types_bounds_and_defaults(self):
        from typing import Annotated, Literal

        class Sample(scalelab.Params):
            width: int = Field(8, ge=1, le=64, description="channels")
            rate: float | None = Field(None, gt=0, lt=1)
            mode: Literal["a", "b"] = "a"
            dims: tuple[int, ...] = Field((1, 2), min_length=1, max_length=9)
            inner: Annotated[int, Field(multiple_of=8)] | None = 8
            folder: scalelab.Location
            made: list[str] = Field(default_factory=lambda: ["x"])

        options = {option.name: option for option in options_of(Sample)}
        assert (options["width"].type, options["width"].bounds, options["width"].help) == (
            "int",
            ">= 1, <= 64",
            "channels",
        )
        assert (options["rate"].type, options["rate"].bounds, options["rate"].default) == (
            "float | none",
            "> 0, < 1",
            None,
        )
        assert options["mode"].type == "'a' | 'b'"
        assert (options["dims"].type, options["dims"].bounds) == (
            "tuple[int, …]",
            "at least 1 long, at most 9 long",
        )
        assert options["inner"].default == 8
        assert (options["folder"].type, options["folder"].required) == ("Path", True)
        assert options["made"].default == ["x"]
        assert options_of(scalelab.NoParams) == ()
