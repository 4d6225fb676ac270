"""The documentation: every name has its page, every link its object, every example
its output. Sphinx is not needed here."""

import ast
import csv
import doctest
import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import pytest
import torch  # noqa: F401 - the pages show the nets, too
from instances import ESTIMATORS

from sktransfer.base import TransferMixin, get_transfer_tags

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.rst") if "_build" not in p.parts
               and "generated" not in p.parts and "_templates" not in p.parts
               and "auto_examples" not in p.parts)  # fmt: skip


@pytest.fixture(scope="module")
def code():
    spec = importlib.util.spec_from_file_location(
        "pages_from_code", DOCS / "pages_from_code.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _listed(page):
    """Names in the autosummary of a page."""
    return re.findall(r"^   (\w+)$", page.split(":nosignatures:")[1], re.M)


def test_every_exported_name_is_on_an_api_page(code):
    on_pages = {}
    for module_name, names in code.documented().items():
        page = code.api_page(module_name, names)
        module = importlib.import_module(module_name)
        assert f".. currentmodule:: {module_name}\n" in page
        for name in _listed(page):
            on_pages[id(getattr(module, name))] = f"{module_name}.{name}"
    for module_name, module in code.public_modules().items():
        for name in module.__all__:
            assert id(getattr(module, name)) in on_pages, f"{module_name}.{name}"


def test_the_page_of_domain_data_shows_what_a_method_asks_for(code):
    listed = code.own_methods()["sktransfer.base.DomainData"]
    assert {"X_source", "y_labeled", "sources", "each_source", "labels"} <= set(listed)


def test_public_modules_are_all_there(code):
    package = DOCS.parent / "sktransfer"
    folders = {p.parent.name for p in package.glob("[a-z]*/__init__.py")}
    files = {p.stem for p in package.glob("[a-z]*.py")}
    expected = {f"sktransfer.{name}" for name in folders | files}
    assert expected <= set(code.public_modules()) | set(code.documented())


def test_capability_table_has_every_estimator(code):
    rows = {row[0]: dict(zip(code.HEADER, row, strict=True))
            for row in code.capability_rows(ESTIMATORS)}  # fmt: skip
    exported = {
        getattr(module, name)
        for module_name, module in code.public_modules().items()
        for name in module.__all__
        if module_name != "sktransfer.base" and inspect.isclass(getattr(module, name))
    }
    expected = {cls for cls in exported if issubclass(cls, TransferMixin)}
    assert len(rows) == len(expected)
    for cls in expected:
        own = [get_transfer_tags(e) for e in ESTIMATORS if type(e) is cls]
        (row,) = (r for name, r in rows.items() if name.endswith(f".{cls.__name__}`"))
        many = any(tags.multi_source for tags in own)
        assert row["sources"] == ("many" if many else "one")
        assert all(t.target_labels in row["labeled target rows"] for t in own)
        used = any(tags.uses_unlabeled for tags in own)
        assert row["unlabeled target rows"] == ("used" if used else "ignored")


def _systems():
    with (DOCS / "systems.csv").open(newline="") as file:
        return list(csv.DictReader(file))


#: words of every system that the survey and the four papers name
NAMED = """
negative transfer gap|Ben-David|reliable transfer|AT-GP|Jamal|SAFEW|Kuzborskij|Yoon
Sorocky|mean discrepancy|Lin and Jung|DTE|Kullback|rank of domain|Azab|HSIC|Bregman
MultiSourceTrAdaBoost|TaskTrAdaBoost|STIL|A-distance|label-informed|fine-tuning
silhouette|NCE|LEEP|LogME|TransRate|selective autoencoder|DFF|bridge|PW-MSTL|Zuo
DECISION|predictive distribution|multi-component|active transfer|discriminator gate
dual transfer|twin bridge|latent spaces|BSS|BSP|low-rank and sparse|TransNorm|robust
MADA|mean teaching|Gui|selective pseudo|SHOT|PCGrad|gradient vaccine|GradNorm
uncertainty|LBTW|MGDA|task relationships|routing|lifelong|attacks|TCA|KMM|DAN|CORAL
DANN|ADDA|PADA|GTA|ablations|perturbation|source only|t-SNE|algorithm 1|algorithm 2
LoRA|all sources|single source|OTQMS|H-ensemble|MCW|OTCE|GBC|WADN|Detective|MSFDA|DATE
M3SDA|FOMA|DBF|Tong|CAGrad|RGW|MoCo|MoDo|DWA|Libra|RotoGrad|clusters of sources
heat maps|DATN|SSDAE|TTI|WSDTN|HHTL|CDLS|H-score|maximal H-score|affinity|footrule
clusters of tasks|fusion|segmentation|ProtoNet|MAML|MRI|HGR
"""


def test_table_of_systems_names_every_system():
    """Every system named in the papers is in the table."""
    rows = _systems()
    text = "\n".join(row["system"] for row in rows)
    words = [word for line in NAMED.split("\n") for word in line.split("|") if word]
    assert not [word for word in words if word not in text]
    assert len(rows) >= 90
    assert {word for row in rows for word in row["paper"].split(", ")} == {
        "survey", "gap", "UOWQ", "DATN", "talk"
    }  # fmt: skip


def test_table_of_systems_says_where_or_why_not():
    """Each row has a place that exists, a reason, or what is missing."""
    for row in _systems():
        roles = re.findall(r":(?:class|func):`~(sktransfer[\w.]+)`", row["where"])
        assert all(_resolve(role) for role in roles), row
        pages = re.findall(r":doc:`auto_examples/([\w/]+)`", row["where"])
        examples = DOCS.parent / "examples"
        assert all((examples / f"{page}.py").exists() for page in pages), row
        reason = re.search("Does not apply: .+|not yet", row["note"])
        assert roles or pages or reason, row
        assert row["where"].count("`") == 2 * (len(roles) + len(pages)), row


def test_table_of_systems_has_nothing_that_is_there_by_now(code):
    """What the table calls "not yet" must not be exported."""
    exported = {name for m in code.public_modules().values() for name in m.__all__}
    missing = [re.findall(r"not yet: (\w+)", row["note"]) for row in _systems()]
    assert not exported & {name for names in missing for name in names}


#: pairs of samples, or trees of a source, have to be given to these
WITHOUT_TIMES = {
    "DirectStandardization",
    "PiecewiseDirectStandardization",
    "TransferForest",
    "TransferTree",
}


def test_every_method_without_a_net_has_its_time(code):
    """``benchmarks/running_times.py --words NAME`` measures a missing one."""
    with (DOCS / "guide" / "running_times.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    timed = [re.findall("`~(.+)`", row["estimator"])[0] for row in rows]
    assert timed == sorted(set(timed))
    classes = {name for name in code.estimator_classes() if ".deep." not in name}
    assert set(timed) <= classes
    assert {name.split(".")[-1] for name in classes - set(timed)} == WITHOUT_TIMES


def test_capabilities_need_an_instance(code):
    with pytest.raises(ValueError, match="has no instance"):
        code.capability_rows([])


def test_the_table_of_methods_has_needs_from_tags_and_figures(code, tmp_path):
    page = (
        "method: KMM  always  20 50.0 -0.1 100.0 -1.0 -1.0 set\n"
        "method: KMM  aggregate 0.3  20  6.0 +0.1 91.0 -0.1 -0.1 set\n"
        "method: TCA  always  20 54.0 -0.1 100.0 -1.0 -1.0 set\n"
    )
    assert code.safety_figures(page) == {"KMM": ("6.0", "91.0", "20")}
    board = tmp_path / "figures.csv"
    board.write_text(
        "estimator,labels,method,sets,hurt,kept\n"
        'KMM,classes,"KMM, linear",20,55,-19\n'
        'TCA,reals,"TCA, linear",9,40,3\n'
        'JDA,reals,"JDA, linear",3,,\n'
    )
    rows = code.method_rows(ESTIMATORS, page, board)
    table = [dict(zip(code.METHOD_HEADER, row, strict=True)) for row in rows]
    tca, kmm = table[:2]  # the one that hurts less is first
    assert tca["method"] == ":class:`~sktransfer.feature.TCA`"
    assert tca["real labels: hurt, kept (sets)"] == "40 %, 3 % (9)"
    assert kmm["method"] == ":class:`~sktransfer.instance.KMM`"
    assert kmm["classes: hurt, kept (sets)"] == "55 %, -19 % (20)"
    assert kmm["real labels: hurt, kept (sets)"] == ""
    assert kmm["measured as"] == "KMM, linear"
    assert kmm["guarded: hurt, kept (runs)"] == "6.0 %, 91.0 % (20)"
    (jda,) = (row for row in rows if row[0].endswith(".JDA`"))
    assert "few sets (3)" in jda
    names = [row[0] for row in rows]
    assert ":class:`~sktransfer.feature.CORAL`" in names
    assert len(names) == len(set(names))
    classes = {name.rsplit(".", 1)[1] for name in code.estimator_classes()}
    real = code.safety_figures(code.SAFETY.read_text())
    assert {"KMM", "TCA", "UOWQ", "Pooled"} <= set(real)
    assert set(real) - classes <= {"pooled 0.1", "pooled 3-nn"}
    measured = {name for name, _ in code.board_figures(code.BOARD)}
    assert {"KMM", "TCA", "UOWQ", "Pooled"} <= measured <= classes


def test_references_are_found_and_merged(code):
    references = code.references()
    (gap,) = (users for text, users in references.items() if "CVPR.2019.01155" in text)
    assert ":func:`~sktransfer.metrics.negative_transfer_gap`" in gap
    (tca,) = (users for t, users in references.items() if "10.1109/TNN.2010" in t)
    assert ":class:`~sktransfer.feature.TCA`" in tca and len(tca) > 1
    assert not [text for text in references if "arXiv:" in text]  # all are links


def _resolve(target):
    """Return whether a dotted name is a public object of the library."""
    parts = target.split(".")
    for cut in range(len(parts), 0, -1):
        name = ".".join(parts[:cut])
        if importlib.util.find_spec(parts[0]) is None:
            return False
        try:
            obj = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(obj, part):
                return False
            obj = getattr(obj, part)
        return True
    return False


def test_every_page_says_what_you_will_know_after_it():
    """Pages of the documentation and of the gallery alike."""
    scripts = list((DOCS.parent / "examples").glob("*/*.py"))
    headers = (DOCS.parent / "examples").rglob("GALLERY_HEADER.rst")
    texts = {page: page.read_text() for page in [*PAGES, *headers]}
    texts |= {page: ast.get_docstring(ast.parse(page.read_text())) for page in scripts}
    promise = "After this page you will know"
    assert not [p for p, text in texts.items() if promise not in " ".join(text.split())]
    assert len(texts) > 45


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_links_to_objects_resolve(page):
    roles = re.findall(r":(?:class|func|mod|data|meth):`~?(sktransfer[\w.]*)`",
                       page.read_text())  # fmt: skip
    assert not [role for role in roles if not _resolve(role)]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_links_to_pages_resolve(page):
    text = page.read_text()
    targets = re.findall(r":doc:`(?:[^`<]*<)?([\w/.]+)>?`", text)
    assert not [t for t in targets if not (page.parent / f"{t}.rst").exists()]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if ">>>" in page.read_text()],
    ids=lambda p: str(p.relative_to(DOCS)),
)
def test_examples_in_the_guide(page):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testfile(str(page), module_relative=False, optionflags=flags)
    plt.close("all")
    assert result.attempted and not result.failed
