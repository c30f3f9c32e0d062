"""The header (`.hea`) of one record, in either of the forms that the database uses.

The 2020 form has a date and bare keys (`16+24 1000/mV`, `#Age: 85`), the 2021 form has neither date nor
time (`16x1+24 1000.0(0)/mV`, `# Age: 84`). The fields are those of the WFDB header(5) manual page; what
challenge participants were known to trip over is taken as it is meant, and said in the header's notes; what
had to be put right to be understood is in its repairs.
"""

from __future__ import annotations

import math
import re
import stat
from dataclasses import dataclass
from decimal import Decimal
from itertools import takewhile
from pathlib import Path
from typing import Literal

import scalelab

Sex = Literal["male", "female"]

RATES = (50.0, 10_000.0)
"""Lowest and highest sampling rate in Hz that is taken for that of an ECG."""
OLDEST = 120
"""Ages above are codes (PTB-XL writes 300 for "over 89") or mistakes; they are taken as unknown."""
LARGEST = 1 << 20
"""Bytes of the longest header that is read; those of the database have less than a thousand."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,10}")
_RECORD = re.compile(r"(?P<name>[^\s/]+)(?P<segments>/[0-9]+)?")
_FORMAT = re.compile(
    r"(?P<format>[0-9]+)(?:x(?P<frame>[0-9]{1,6}))?(?::(?P<skew>[0-9]{1,6}))?(?:\+(?P<offset>[0-9]{1,10}))?"
)
_GAIN = re.compile(
    r"(?P<gain>[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?)"
    r"(?:\((?P<baseline>[-+]?[0-9]{1,10})\))?(?:/(?P<units>\S+))?"
)
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_CODE = re.compile(r"[0-9]{6,18}")
_DECIMAL = re.compile(r"[0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE]\+?[0-9]{1,2})?")
# Blanks are counted so that a line of a million of them takes no longer than its length.
_PATIENT = re.compile(
    r"#[#\s]*patient(?:[\s_-]{0,9}(?:id|no\.?|number|nr\.?)(?![a-z]))?[\s_-]{0,9}[:=#]?\s{0,9}"
    r"(?P<id>(?=\S{0,39}[0-9])[^\W_][\w.-]{0,39})(?:\s{0,9}[(,;].*)?",
    re.IGNORECASE,
)
_SEXES: dict[str, Sex] = {"male": "male", "m": "male", "female": "female", "f": "female"}
_UNKNOWN = {"", "nan", "unknown", "none", "n/a", "na", "u", "?"}


@dataclass(frozen=True, slots=True)
class SignalLine:
    """How one lead is stored.

    Attributes:
        file: Name of the signal file.
        format: WFDB storage format, `"16"` for 16-bit integers.
        frame: Samples per frame.
        skew: Samples by which the lead lags.
        offset: Bytes before the first sample.
        gain: ADC units per physical unit, `None` where the header gives none (or 0).
        baseline: ADC value of zero.
        units: Physical unit as written, `"mV"` where none is.
        initial: ADC value of the first sample, or `None`.
        checksum: 16-bit sum of the samples, as written, or `None`.
        lead: Name of the lead as written.
    """

    file: str
    format: str
    frame: int
    skew: int
    offset: int
    gain: float | None
    baseline: int
    units: str
    initial: int | None
    checksum: int | None
    lead: str


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says.

    Attributes:
        name: The record's name as the header has it.
        rate: Sampling rate in Hz.
        n_samples: Samples of each lead, `None` where the header leaves it to the file.
        signals: The leads, in the order in which their samples are interleaved.
        codes: SNOMED CT codes of `Dx`, without duplicates, in their order.
        age: In years, `None` where unknown.
        sex: `None` where unknown.
        patient: What a comment calls the patient, such as `"12"` of `# patient 12`; `None` without one.
        notes: What was not quite as it should be, and does no harm.
        repairs: What was put right to be understood.
    """

    name: str
    rate: float
    n_samples: int | None
    signals: tuple[SignalLine, ...]
    codes: tuple[str, ...]
    age: float | None
    sex: Sex | None
    patient: str | None
    notes: tuple[str, ...]
    repairs: tuple[str, ...] = ()


def header_text(header: Path) -> str:
    """Returns a header's text; every byte is some character, so that decoding cannot fail.

    Raises:
        scalelab.DataError: It cannot be read, is no regular file, or is far too long.
    """
    try:
        if not stat.S_ISREG(header.stat().st_mode):  # opening a pipe would wait for who writes to it
            raise scalelab.DataError("header cannot be read: it is not a regular file")
        with header.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise scalelab.DataError(f"header cannot be read: {error.strerror or error}") from error
    if len(content) > LARGEST:
        raise scalelab.DataError("header is not text: it has more than a million bytes")
    return content.decode("latin-1")


def parse_header(text: str) -> Header:
    """Parses a header's text.

    Raises:
        scalelab.DataError: It is not the header of one record; the message is `kind: details`.
    """
    lines = [line.strip() for line in text.split("\n")]
    repairs: list[str] = []
    fields = _without_comments([line for line in lines if line and not line.startswith("#")], repairs)
    if not fields:
        raise scalelab.DataError("header is empty: it has no record line")
    name, n_leads, rate, n_samples = _record_line(fields[0])
    if len(fields) - 1 != n_leads:
        raise scalelab.DataError(
            f"header is incomplete: {len(fields) - 1} signal lines where its first line says {n_leads}"
        )
    signals = tuple(_signal_line(line) for line in fields[1:])
    said: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("#"):
            key, _, value = line.lstrip("# \t").partition(":")
            said.setdefault(key.strip().lower(), []).append(value.strip())
    notes: list[str] = []
    codes = _codes(said.get("dx", []), repairs, notes)
    age, sex = (said.get(key, [""])[0] for key in ("age", "sex"))
    patients = (_PATIENT.fullmatch(line.strip()) for line in lines)
    patient = next((found["id"] for found in patients if found), None)
    about = (codes, _age(age, notes), _sex(sex, notes), patient)
    return Header(name, rate, n_samples, signals, *about, tuple(notes), tuple(repairs))


def _without_comments(lines: list[str], repairs: list[str]) -> list[str]:
    """Returns lines without what stands behind a `#`: in WFDB, a comment has a line of its own.

    The first word of a line is a name, which may contain the sign.
    """
    if not any("#" in line for line in lines):
        return lines
    bare = []
    comments = []
    for line in lines:
        name, *rest = line.split(None, 1)
        before, sign, comment = rest[0].partition("#") if rest else ("", "", "")
        bare.append(f"{name} {before}".rstrip())
        comments += [sign + comment] if sign else []
    if comments:
        repairs.append(f"comment: {_shown(comments[0])} left out at the end of {len(comments)} lines")
    return bare


def _record_line(line: str) -> tuple[str, int, float, int | None]:
    words = line.split()
    name = _RECORD.fullmatch(words[0])
    if name is None:
        raise scalelab.DataError(f"record line: {_shown(words[0])} is not a record name")
    if name["segments"]:
        raise scalelab.DataError("record line: a record of several segments is not in this layout")
    n_leads = _integer(words[1]) if len(words) > 1 else None
    if n_leads is None or n_leads < 1:
        raise scalelab.DataError("record line: it gives no number of leads")
    rate = _NUMBER.match(words[2]) if len(words) > 2 else None
    if rate is None or (rate.end() < len(words[2]) and words[2][rate.end()] not in "/("):
        raise scalelab.DataError("record line: it gives no sampling rate")
    hertz = float(rate[0])
    if not RATES[0] <= hertz <= RATES[1]:
        raise scalelab.DataError(f"sampling rate: {hertz:g} Hz is not between {RATES[0]:g} and {RATES[1]:g}")
    n_samples = _integer(words[3]) if len(words) > 3 else 0
    if n_samples is None or n_samples < 0:
        raise scalelab.DataError(f"record line: {_shown(words[3])} is not a number of samples")
    return name["name"], n_leads, hertz, n_samples or None


def _signal_line(line: str) -> SignalLine:
    words = line.split()
    stored = _FORMAT.fullmatch(words[1]) if len(words) > 1 else None
    if stored is None:
        raise scalelab.DataError(f"signal line: {_shown(line)} gives no storage format")
    scale = _GAIN.fullmatch(words[2] if len(words) > 2 else "0")
    if scale is None or not math.isfinite(float(scale["gain"])):
        raise scalelab.DataError(f"signal line: {_shown(words[2])} is not a gain")
    numbers = [int(word) for word in takewhile(_INTEGER.fullmatch, words[3:8])]
    # The ADC's resolution stands first; what the line leaves out is unknown.
    _, zero, initial, checksum, *_ = (*numbers, None, None, None, None)
    return SignalLine(
        file=words[0],
        format=stored["format"],
        frame=int(stored["frame"] or 1),
        skew=int(stored["skew"] or 0),
        offset=int(stored["offset"] or 0),
        gain=float(scale["gain"]) or None,
        baseline=int(scale["baseline"] or zero or 0),
        units=scale["units"] or "mV",
        initial=initial,
        checksum=checksum,
        lead=" ".join(words[3 + len(numbers) :]),
    )


def _codes(texts: list[str], repairs: list[str], notes: list[str]) -> tuple[str, ...]:
    if len(texts) > 1:
        repairs.append(f"diagnoses: the codes of {len(texts)} lines with Dx taken together")
    codes: dict[str, None] = {}
    meant: list[str] = []
    strange: list[str] = []
    for word in re.split(r"[,;\s]+", ",".join(texts)):
        if _CODE.fullmatch(word):
            codes[word] = None
        elif (code := _code_meant(word)) is not None:
            codes[code] = None
            meant.append(f"{code} for {_shown(word)}")
        elif word.lower() not in _UNKNOWN:
            strange.append(_shown(word))
    if meant:
        repairs.append(f"code: {', '.join(meant[:3])} in Dx")
    if strange:
        notes.append(f"no SNOMED CT code: {', '.join(strange[:3])} in Dx")
    if not codes:
        notes.append("no diagnosis")
    return tuple(codes)


def _code_meant(word: str) -> str | None:
    """Returns the code that tables and lists wrote as a number or a text: `426783006.0`, `['426783006']`.

    `4.26783006E8` has all digits of its code; `4.27E8` has lost some, and stands for none.
    """
    bare = word.strip("'\"[](){}")
    if not _DECIMAL.fullmatch(bare):
        return None
    number = Decimal(bare)
    if number != number.to_integral_value() or int(number.as_tuple().exponent) > 0:
        return None
    code = str(int(number))
    return code if _CODE.fullmatch(code) else None


def _age(text: str, notes: list[str]) -> float | None:
    if text.lower() in _UNKNOWN:
        return None
    number = _NUMBER.fullmatch(text.lower().removesuffix("y").strip())
    if number is None or float(number[0]) > OLDEST:
        notes.append(f"age: {_shown(text)} is taken as unknown")
        return None
    return float(number[0])


def _sex(text: str, notes: list[str]) -> Sex | None:
    sex = _SEXES.get(text.lower())
    if sex is None and text.lower() not in _UNKNOWN:
        notes.append(f"sex: {_shown(text)} is taken as unknown")
    return sex


def _integer(word: str) -> int | None:
    """`int` itself takes underscores and digits of other scripts."""
    return int(word) if _INTEGER.fullmatch(word) else None


def printable(text: str, limit: int = 40) -> str:
    """Returns a word of a file as it fits into a message of one line: in ASCII, cut to some characters."""
    safe = text.encode("ascii", "backslashreplace").decode()
    safe = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in safe)
    return safe if len(safe) <= limit else f"{safe[: limit - 1]}…"


def _shown(text: str) -> str:
    return f"'{printable(text)}'"
