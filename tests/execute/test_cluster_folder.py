"""Mail in a folder."""

from __future__ import annotations

from scalelab.execute.cluster.folder import FolderMail, FolderPost
from scalelab.execute.cluster.mail import Hello, Taken
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
