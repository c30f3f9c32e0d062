"""Mail in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalelab.execute.cluster import folder
from scalelab.execute.cluster.folder import FolderMail, FolderPost
from scalelab.execute.cluster.mail import Bye, Hello, Taken, Told
from scalelab.execute.jobs import Lost, Progressed
from scalelab.store import Journal
from scalelab.store.fleet import Fleet, Heart


def test_a_job_that_has_ended_is_not_there_for_who_joins_its_run(tmp_path):
    journal = Journal(tmp_path / "store.duckdb")
    fleet = Fleet(journal, "run")
    first = FolderPost(fleet)
    for name in ("alive", "dead"):
        mail = FolderMail(journal, Heart(name), "run")
        mail.beat()
        mail.say(Hello(job=name, host="n1"))
        mail.say(Taken(record_id=f"{name}-1"))
    fleet.stop("dead")
    said = [(who, what.kind) for who, what in first.hear()]
    assert said == [("alive", "hello"), ("alive", "taken"), ("dead", "hello"), ("dead", "taken")]
    joined = FolderPost(fleet, joined=True)
    said = [(who, what.kind) for who, what in joined.hear()]
    assert said == [("alive", "hello"), ("alive", "taken"), ("dead", "taken")]
    assert joined.hear() == []


@pytest.fixture
def opened(monkeypatch):
    """Lists the files of jobs that are opened."""
    names, plain = [], Path.open

    def noting(path, mode="r", *rest, **options):
        if mode == "rb" and path.parent.name == "told":
            names.append(path.stem)
        return plain(path, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", noting)
    return names


def test_only_files_that_grew_are_opened_and_all_others_of_jobs_that_live_now_and_then(
    tmp_path, opened, monkeypatch
):
    journal = Journal(tmp_path / "store.duckdb")
    post = FolderPost(Fleet(journal, "run"))
    mails = {name: FolderMail(journal, Heart(name), "run") for name in "abc"}
    for name, mail in mails.items():
        mail.say(Hello(job=name, host="n1"))
    mails["b"].say(Bye(reason="its time limit is near"))
    mails["c"].say(Bye(reason="its machine is taken away", again=True))
    assert len(post.hear()) == 5
    monkeypatch.setattr(folder, "OPEN_SECONDS", 1e9)
    opened.clear()
    assert (post.hear(), opened) == ([], [])
    mails["c"].say(Hello(job="c", host="n2", restarts=1))
    assert [(who, what.kind) for who, what in post.hear()] == [("c", "hello")]
    assert opened == ["c"]
    monkeypatch.setattr(folder, "OPEN_SECONDS", 0.0)
    opened.clear()
    assert (post.hear(), opened) == ([], ["a", "c"])
    mails["b"].say(Hello(job="b", host="n1", restarts=1))  # an administrator started it again
    assert [(who, what.kind) for who, what in post.hear()] == [("b", "hello")]
    opened.clear()
    assert (post.hear(), opened) == ([], ["a", "b", "c"])


def test_progress_is_said_to_nobody_while_there_is_no_coordinator(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "store.duckdb")
    post = FolderPost(Fleet(journal, "run"))
    mail = FolderMail(journal, Heart("a"), "run")
    far = Told(record_id="t-1", event=Progressed(trial_id="t", step=1, n_steps=2))
    mail.say(far)
    monkeypatch.setattr(mail, "deserted", lambda: True)
    mail.say(far)
    mail.say(Told(record_id="t-1", event=Lost(trial_id="t", reason="killed")))
    assert [what.event.kind for _, what in post.hear()] == ["progressed", "lost"]
