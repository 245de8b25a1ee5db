"""
The engine's flows, each as the conversation that it is: what is sent, and what it makes
of the replies. No server, no event loop.
"""

import json

import pytest
from django.contrib.sessions.backends.base import CreateError, UpdateError

from django_valkey_sessions import backend, codec, keys, scripts, signals
from django_valkey_sessions.backend import SessionStore
from django_valkey_sessions.client import ScriptMissing, WrongType
from django_valkey_sessions.exceptions import (
    ConnectionLost,
    ReplyLost,
    SessionConflict,
    SessionStoreUnavailable,
)
from django_valkey_sessions.renewal import Bearer

SWAP = scripts.SWAP
SESSION_KEY = "a" * 32
ID = keys.session_id(SESSION_KEY)
KEY = f"session:{ID}"


@pytest.fixture(autouse=True)
def plain(settings, monkeypatch):
    settings.VALKEY_SESSIONS = {}
    monkeypatch.setattr(scripts, "_sent", {SWAP})
    # Whoever imports channels listens from then on, which is a step of its own.
    for signal in (signals.session_created, signals.session_ended):
        monkeypatch.setattr(signal, "receivers", [])


class Conversation:
    """Answers a flow with the given replies; an exception among them is thrown in."""

    def __init__(self, flow):
        self.flow = flow
        self.sent = [next(flow)]

    def reply(self, reply):
        """Reply to what was sent last; return what is sent then."""
        if isinstance(reply, Exception):
            self.sent.append(self.flow.throw(reply))
        else:
            self.sent.append(self.flow.send(reply))
        return self.sent[-1]

    def end(self, reply):
        """Reply to what was sent last; return the result of the flow."""
        with pytest.raises(StopIteration) as done:
            self.reply(reply)
        return done.value.value


def value(**data):
    """Return what the server has stored of a session with these data."""
    return codec.pack(json.dumps(data, separators=(",", ":")).encode(), ID, 1)


def loaded(**data):
    session = SessionStore(SESSION_KEY)
    talk = Conversation(session._load())
    session._session_cache = talk.end(value(**data))
    return session


# Loading.


def test_load_sends_get():
    assert Conversation(SessionStore(SESSION_KEY)._load()).sent == [["GET", KEY]]


def test_load_with_touching_sends_get_and_pttl_together(settings):
    settings.SESSION_SAVE_EVERY_REQUEST = True
    sent = Conversation(SessionStore(SESSION_KEY)._load()).sent
    assert sent == [(["GET", KEY], ["PTTL", KEY])]


def test_load_is_sent_again_when_the_connection_breaks():
    talk = Conversation(SessionStore(SESSION_KEY)._load())
    assert talk.reply(ConnectionLost("broken")) == ["GET", KEY]
    assert talk.end(value(a=1)) == {"a": 1}


def test_load_is_not_sent_again_when_the_server_does_not_answer():
    talk = Conversation(SessionStore(SESSION_KEY)._load())
    with pytest.raises(ReplyLost):
        talk.reply(ReplyLost("silence"))


def test_an_error_in_one_of_two_replies_is_an_error(settings):
    settings.SESSION_SAVE_EVERY_REQUEST = True
    talk = Conversation(SessionStore(SESSION_KEY)._load())
    with pytest.raises(SessionStoreUnavailable):
        talk.reply([value(a=1), SessionStoreUnavailable("no")])


@pytest.mark.parametrize("foreign", [b"garbage", 17, "OK", [b"a"], True])
def test_a_reply_that_can_not_be_read_is_asked_for_again(foreign):
    talk = Conversation(SessionStore(SESSION_KEY)._load())
    assert talk.end(marked(talk, foreign) + b"+" + value(a=1)) == {"a": 1}


def marked(talk, unreadable):
    """Reply what can't be read; return by what the next reply has to be known."""
    *_, key, mark = talk.reply(unreadable)
    assert key == KEY
    return mark


@pytest.mark.parametrize("foreign", [b"twelve bytes+", [b"a"], None])
def test_a_second_reply_without_its_mark_is_an_error(foreign):
    talk = Conversation(SessionStore(SESSION_KEY)._load())
    talk.reply(b"meant for somebody")
    with pytest.raises(SessionStoreUnavailable, match="do not belong"):
        talk.reply(foreign)


def test_the_same_reply_of_somebody_else_twice_logs_nobody_out():
    theirs = codec.pack(b'{"a":1}', "f" * 32, 1)
    talk = Conversation(SessionStore(SESSION_KEY)._load())
    talk.reply(theirs)
    with pytest.raises(SessionStoreUnavailable, match="do not belong"):
        talk.reply(theirs)


def test_a_session_that_ends_between_the_replies_is_none():
    talk = Conversation(SessionStore(SESSION_KEY)._load())
    assert talk.end(marked(talk, b"meant for somebody")) == {}


def test_another_sessions_value_is_never_ours(settings):
    theirs = codec.pack(b'{"a":1}', "f" * 32, 1)
    for seal in (True, False):
        settings.VALKEY_SESSIONS = {"SEAL": seal}
        talk = Conversation(SessionStore(SESSION_KEY)._load())
        assert talk.end(marked(talk, theirs) + b"+" + theirs) == {}


# Saving.


def test_create_sends_set_nx():
    session = SessionStore()
    session._session_cache = {"a": 1}
    talk = Conversation(session._create())
    (command,) = talk.sent
    assert command[0] == "SET"
    assert command[3:] == ["NX", "PX", "1209600000"]
    talk.end("OK")
    assert command[1] == f"session:{session._id()}"
    assert session.modified is True


def test_create_draws_another_key_if_one_is_taken():
    session = SessionStore()
    session._session_cache = {}
    talk = Conversation(session._create())
    second = talk.reply(None)
    assert second[1] != talk.sent[0][1]
    talk.end("OK")
    assert second[1] == f"session:{session._id()}"


def test_a_session_that_could_not_be_created_has_no_key():
    session = SessionStore()
    session._session_cache = {}
    talk = Conversation(session._create())
    with pytest.raises(SessionStoreUnavailable):
        talk.reply(SessionStoreUnavailable("full"))
    assert session.session_key is None


def test_must_create_raises_create_error_where_there_is_one():
    session = SessionStore(SESSION_KEY)
    session._session_cache = {}
    talk = Conversation(session._save(must_create=True))
    with pytest.raises(CreateError):
        talk.reply(None)


def test_save_compares_with_the_stamp_of_what_was_loaded():
    session = loaded(a=1)
    base = session._base.stamp
    session["a"] = 2
    (command,) = Conversation(session._save(must_create=False)).sent
    assert command[:5] == ["EVALSHA", SWAP.sha, "1", KEY, base]
    assert command[6] == "1209600000"


def test_the_first_save_of_a_process_sends_the_script(monkeypatch):
    monkeypatch.setattr(scripts, "_sent", set())
    session = loaded(a=1)
    session["a"] = 2
    talk = Conversation(session._save(must_create=False))
    (command,) = talk.sent
    assert command[:2] == ["EVAL", SWAP]
    talk.end(codec.stamp_of(command[5]))
    session["a"] = 3
    assert Conversation(session._save(False)).sent[0][0] == "EVALSHA"


def test_a_server_that_has_forgotten_the_script_is_sent_it_again():
    session = loaded(a=1)
    session["a"] = 2
    talk = Conversation(session._save(must_create=False))
    command = talk.reply(ScriptMissing())
    assert command[:2] == ["EVAL", SWAP]
    talk.end(codec.stamp_of(command[5]))


def test_save_of_what_is_gone_raises_update_error():
    session = loaded(a=1)
    session["a"] = 2
    talk = Conversation(session._save(must_create=False))
    with pytest.raises(UpdateError):
        talk.reply(None)


def test_save_over_what_is_no_session_any_more_raises_update_error():
    session = loaded(a=1)
    session["a"] = 2
    talk = Conversation(session._save(must_create=False))
    with pytest.raises(UpdateError):
        talk.reply(WrongType())


def test_a_conflict_is_merged_and_tried_again_at_once():
    session = loaded(a=1)
    session["a"] = 2
    talk = Conversation(session._save(must_create=False))
    theirs = value(a=1, b=1)
    again = talk.reply(theirs)
    assert again[4] == codec.stamp_of(theirs)
    assert session._session_cache == {"a": 2, "b": 1}
    talk.end(codec.stamp_of(again[5]))


def test_after_a_second_conflict_the_flow_pauses_and_looks_before_it_tries_again():
    session = loaded(a=1)
    session["a"] = 2
    talk = Conversation(session._save(must_create=False))
    talk.reply(value(a=1, b=1))
    pause = talk.reply(value(a=1, b=2))
    assert 0 <= pause <= 0.008
    assert talk.reply(None) == ["GET", KEY]
    latest = value(a=1, b=3)
    again = talk.reply(latest)
    assert again[4] == codec.stamp_of(latest)
    assert session._session_cache == {"a": 2, "b": 3}


def test_a_session_that_ends_during_the_pause_is_not_written():
    session = loaded(a=1)
    session["a"] = 2
    talk = Conversation(session._save(must_create=False))
    talk.reply(value(a=1, b=1))
    talk.reply(value(a=1, b=2))
    talk.reply(None)
    with pytest.raises(UpdateError):
        talk.reply(None)


def test_tries_come_to_an_end():
    session = loaded(a=1)
    session["a"] = 2
    talk = Conversation(session._save(must_create=False))
    talk.reply(value(a=1, b=1))
    for number in range(backend.RETRIES - 1):
        talk.reply(value(a=1, b=number))  # To the script.
        talk.reply(None)  # To the pause.
        talk.reply(value(a=1, b=number))  # To the look.
    talk.reply(value(a=1, b=0))
    talk.reply(None)
    with pytest.raises(SessionConflict):
        talk.reply(value(a=1, b=0))


def test_a_foreign_reply_is_not_taken_for_success():
    session = loaded(a=1)
    session["a"] = 2
    talk = Conversation(session._save(must_create=False))
    talk.reply(b"twelve bytes")
    with pytest.raises(SessionStoreUnavailable, match="do not belong"):
        talk.reply(b"other twelve")


def test_a_reply_that_reached_somebody_else_is_found_by_its_stamp():
    session = loaded(n=1)
    session["n"] = 2
    talk = Conversation(session._save(must_create=False))
    written = talk.sent[0][5]
    again = talk.reply(marked(talk, b"twelve bytes") + b"+" + written)
    assert again[4] == codec.stamp_of(written)
    assert session._session_cache == {"n": 2}
    talk.end(codec.stamp_of(again[5]))


def test_a_lost_reply_is_looked_up():
    session = loaded(a=1)
    session["a"] = 2
    talk = Conversation(session._save(must_create=False))
    assert talk.reply(ReplyLost("silence")) == ["GETRANGE", KEY, "6", "17"]
    talk.end(codec.stamp_of(talk.sent[0][5]))
    assert session._base.payload == b'{"a":2}'


def test_a_lost_reply_to_what_was_not_done_is_an_error():
    session = loaded(a=1)
    session["a"] = 2
    talk = Conversation(session._save(must_create=False))
    talk.reply(ReplyLost("silence"))
    with pytest.raises(ReplyLost, match="silence"):
        talk.reply(session._base.stamp)


def test_an_unchanged_session_is_only_touched():
    session = loaded(a=1)
    talk = Conversation(session._save(must_create=False))
    assert talk.sent == [["PEXPIRE", KEY, "1209600000"]]
    talk.end(True)


def test_an_unchanged_session_that_is_gone_raises_update_error():
    talk = Conversation(loaded(a=1)._save(must_create=False))
    with pytest.raises(UpdateError):
        talk.reply(False)


# A new key.


def test_cycle_key_removes_the_old_session_after_the_new_one_is_stored():
    session = loaded(a=1)
    base = session._base.stamp
    talk = Conversation(session._cycle_key())
    storing = talk.sent[0]
    assert storing[0] == "SET"
    assert storing[1] != KEY
    removing = talk.reply("OK")
    assert removing[:5] == ["EVALSHA", SWAP.sha, "1", KEY, base]
    assert removing[6] == "0"
    talk.end(codec.stamp_of(storing[2]))
    assert storing[1] == f"session:{session._id()}"


def test_a_new_session_that_can_not_be_stored_leaves_the_old_one():
    session = loaded(a=1)
    talk = Conversation(session._cycle_key())
    with pytest.raises(SessionStoreUnavailable):
        talk.reply(SessionStoreUnavailable("full"))
    assert len(talk.sent) == 1
    assert session.session_key == SESSION_KEY


def test_a_session_ended_meanwhile_leaves_nothing_under_the_new_key():
    session = loaded(a=1)
    talk = Conversation(session._cycle_key())
    talk.reply("OK")
    assert talk.reply(None) == ["UNLINK", talk.sent[0][1]]
    talk.end(1)
    assert session.session_key == SESSION_KEY


def test_a_change_made_meanwhile_goes_into_the_new_session():
    session = loaded(a=1)
    session["mine"] = 1
    talk = Conversation(session._cycle_key())
    talk.reply("OK")
    theirs = value(a=1, theirs=1)
    talk.reply(theirs)
    storing = talk.reply(1)
    assert storing[:2] == ["SET", talk.sent[0][1]]
    removing = talk.reply("OK")
    assert removing[4] == codec.stamp_of(theirs)
    talk.end(codec.stamp_of(storing[2]))
    assert session._session_cache == {"a": 1, "mine": 1, "theirs": 1}


def test_a_removal_that_did_not_happen_takes_the_new_session_back():
    session = loaded(a=1)
    talk = Conversation(session._cycle_key())
    talk.reply("OK")
    assert talk.reply(ReplyLost("silence")) == ["EXISTS", KEY]
    assert talk.reply(1) == ["UNLINK", talk.sent[0][1]]
    with pytest.raises(ReplyLost):
        talk.reply(1)
    assert session.session_key == SESSION_KEY


def test_a_removal_that_did_happen_keeps_the_new_session():
    session = loaded(a=1)
    talk = Conversation(session._cycle_key())
    talk.reply("OK")
    talk.reply(ReplyLost("silence"))
    talk.end(0)
    assert talk.sent[0][1] == f"session:{session._id()}"


def test_a_foreign_value_under_the_old_key_is_left_alone():
    session = loaded(a=1)
    talk = Conversation(session._cycle_key())
    talk.reply("OK")
    assert talk.reply(WrongType()) == ["UNLINK", talk.sent[0][1]]
    talk.end(1)
    assert session.session_key == SESSION_KEY


def test_a_session_that_is_over_is_not_stored_under_a_new_key():
    session = loaded(a=1)
    session.set_expiry(-10)
    talk = Conversation(session._cycle_key())
    (removing,) = talk.sent
    assert removing[0] == "EVALSHA"
    assert removing[6] == "0"


def test_a_conflict_of_a_cleared_session_is_no_reason_to_merge():
    session = loaded(a=1)
    session.clear()
    session["b"] = 1
    talk = Conversation(session._save(must_create=False))
    again = talk.reply(value(a=2))  # A reply to somebody else: the script never does.
    assert again[4] == b""
    assert session._session_cache == {"b": 1}


# Ending.


def test_delete_removes_any_session_and_again_when_the_connection_breaks():
    talk = Conversation(SessionStore()._delete(Bearer(SESSION_KEY)))
    removing = talk.sent[0]
    assert removing[:5] == ["EVALSHA", SWAP.sha, "1", KEY, b""]
    assert removing[6] == "0"
    assert talk.reply(ConnectionLost("broken")) == removing
    talk.end(None)


def test_no_key_and_no_data_are_in_what_error_reports_show():
    session = loaded(a="private")
    assert "private" not in repr(vars(session)["_base"])
    assert SESSION_KEY not in repr(session)
