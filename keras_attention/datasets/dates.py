"""Dates in nine locales paired with ISO 8601: a small generated data set.

Each text has exactly one meaning, by these conventions (see `docs/dates.md`):

* slashes are American, `3/7/2021` is month/day/year; with the year first, `2021/3/7`, the order is
  year/month/day;
* dots are day.month.year: `7.3.2021`;
* dashes are ISO with the year first, `2021-03-07`, and day-month-year with the year last;
* years are 1950 to 2049, so that `98` can only be 1998 and `21` only 2021.
"""

import datetime
import random
from collections.abc import Sequence

FIRST_YEAR, LAST_YEAR = 1950, 2049

MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio "
    "julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno "
    "luglio agosto settembre ottobre novembre dicembre",
    "ru": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "ja": "1月 2月 3月 4月 5月 6月 7月 8月 9月 10月 11月 12月",
}
# Monday first, as in datetime.date.weekday.
WEEKDAYS = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "de": "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
    "fr": "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "es": "lunes martes miércoles jueves viernes sábado domingo",
    "it": "lunedì martedì mercoledì giovedì venerdì sabato domenica",
    "ru": "понедельник вторник среда четверг пятница суббота воскресенье",
    "ja": "月 火 水 木 金 土 日",
}

# Fields: d, dd: day; nth: ordinal day; m, mm: month; month: its name; mon: its first three letters;
# yy, yyyy: year; weekday: its name; wkd: its first three letters.
FORMS = {
    "en-US": (
        "{m}/{d}/{yyyy}",
        "{mm}/{dd}/{yyyy}",
        "{m}/{d}/{yy}",
        "{mm}/{dd}/{yy}",
        "{month} {d}, {yyyy}",
        "{month} {d} {yyyy}",
        "{month} {nth}, {yyyy}",
        "{month} {d} {yy}",
        "{mon} {d}, {yyyy}",
        "{mon} {nth} {yyyy}",
        "{weekday}, {month} {d}, {yyyy}",
        "{weekday} {month} {d}, {yyyy}",
        "{wkd}, {mon} {d}, {yyyy}",
    ),
    "en-GB": (
        "{d} {month} {yyyy}",
        "{nth} {month} {yyyy}",
        "{nth} of {month}, {yyyy}",
        "the {nth} of {month} {yyyy}",
        "{d} {month} {yy}",
        "{d} {mon} {yyyy}",
        "{d} {mon} {yy}",
        "{d} {mon} '{yy}",
        "{dd}-{mon}-{yyyy}",
        "{weekday} {d} {month} {yyyy}",
        "{weekday} {d} {month} {yy}",
        "{weekday}, {nth} {month} {yyyy}",
        "{wkd} {d} {mon} {yyyy}",
    ),
    "de": (
        "{d}.{m}.{yyyy}",
        "{dd}.{mm}.{yyyy}",
        "{d}.{m}.{yy}",
        "{dd}.{mm}.{yy}",
        "{d}. {month} {yyyy}",
        "{d}. {month} {yy}",
        "{weekday}, {d}. {month} {yyyy}",
        "{weekday}, den {d}. {month} {yyyy}",
        "{weekday}, {dd}.{mm}.{yyyy}",
    ),
    "fr": (
        "{nth} {month} {yyyy}",
        "{nth} {month} {yy}",
        "le {nth} {month} {yyyy}",
        "{weekday} {nth} {month} {yyyy}",
        "le {weekday} {nth} {month} {yyyy}",
    ),
    "es": (
        "{d} de {month} de {yyyy}",
        "{d} de {month} del {yyyy}",
        "{d} {month} {yyyy}",
        "el {d} de {month} de {yyyy}",
        "{weekday}, {d} de {month} de {yyyy}",
        "{weekday} {d} {month} {yyyy}",
    ),
    "it": (
        "{d} {month} {yyyy}",
        "{d} {month} {yy}",
        "il {d} {month} {yyyy}",
        "{weekday} {d} {month} {yyyy}",
    ),
    "ru": (
        "{d} {month} {yyyy}",
        "{d} {month} {yyyy} г.",
        "{dd}.{mm}.{yyyy} г.",
        "{weekday}, {d} {month} {yyyy} г.",
    ),
    "ja": (
        "{yyyy}年{month}{d}日",
        "{yyyy}年{month}{d}日({weekday})",
        "{yyyy}年{mm}月{dd}日",
        "{yyyy}/{m}/{d}",
        "{yyyy}/{mm}/{dd}",
    ),
    "iso": (
        "{yyyy}-{mm}-{dd}",
        "{yyyy}{mm}{dd}",
        "{yyyy}-{m}-{d}",
        "{d}-{m}-{yyyy}",
        "{dd}-{mm}-{yyyy}",
    ),
}
LOCALES = tuple(FORMS)


def iso(year: int, month: int, day: int) -> str:
    """Formats a date as ISO 8601.

    Args:
        year: Year from 1950 to 2049, so that its last two digits identify it.
        month: Month from 1 to 12.
        day: Day of the month.

    Returns:
        `"YYYY-MM-DD"`.

    Raises:
        ValueError: If the date does not exist or the year is out of range.

    Example:

    >>> iso(2021, 3, 7)
    '2021-03-07'
    >>> iso(2021, 2, 31)
    Traceback (most recent call last):
    ValueError: The date does not exist. Received: year=2021, month=2, day=31
    """
    return _date(year, month, day).isoformat()


def write(year: int, month: int, day: int, locale: str) -> list[str]:
    """Writes a date in every form of a locale.

    Args:
        year: Year from 1950 to 2049.
        month: Month from 1 to 12.
        day: Day of the month.
        locale: One of `LOCALES`; `"iso"` has numeric forms only.

    Returns:
        List of one text per form in `FORMS[locale]`, in that order.

    Raises:
        ValueError: If the date does not exist, the year is out of range, or the locale is unknown.

    Example:

    >>> write(1998, 3, 3, "fr")[-1]
    'le mardi 3 mars 1998'
    """
    if locale not in FORMS:
        raise ValueError(f"`locale` must be one of {LOCALES}. Received: locale={locale!r}")
    fields = _fields(_date(year, month, day), locale.split("-")[0])
    return [form.format_map(fields) for form in FORMS[locale]]


def dates(count: int, seed: int = 0, locales: Sequence[str] = LOCALES) -> list[tuple[str, str]]:
    """Generates pairs of a date in some written form and the same date in ISO 8601.

    Dates, locales and forms are drawn uniformly. One text in three is lower case and one in twelve
    is upper case.

    Args:
        count: Number of pairs; pairs may repeat.
        seed: Random seed; the same seed gives the same pairs.
        locales: Locales to draw from, a subset of `LOCALES`.

    Returns:
        List of `(text, iso)` pairs.

    Raises:
        ValueError: If `count` is negative, or `locales` is empty or contains an unknown locale.

    Example:

    >>> dates(2, seed=1)
    [('9 February 74', '1974-02-09'), ('2030/8/26', '2030-08-26')]
    """
    if count < 0:
        raise ValueError(f"`count` must be at least 0. Received: count={count}")
    if not locales:
        raise ValueError(
            f"`locales` must contain at least one of {LOCALES}. Received: locales={locales}"
        )
    draw = random.Random(seed)
    first = datetime.date(FIRST_YEAR, 1, 1).toordinal()
    last = datetime.date(LAST_YEAR, 12, 31).toordinal()
    pairs = []
    for _ in range(count):
        date = datetime.date.fromordinal(draw.randint(first, last))
        text = draw.choice(write(date.year, date.month, date.day, draw.choice(locales)))
        case = draw.choices((str, str.lower, str.upper), weights=(7, 4, 1))[0]
        pairs.append((case(text), date.isoformat()))
    return pairs


def split(
    pairs: Sequence[tuple[str, str]], held_out: float = 0.1, seed: int = 0
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Splits pairs so that no date of the second part occurs in the first in any form.

    Args:
        pairs: `(text, iso)` pairs, as returned by `dates`.
        held_out: Fraction of the distinct dates in the second part, between 0 and 1.
        seed: Random seed; the same seed holds out the same dates.

    Returns:
        Tuple `(train, test)`, each in the order of `pairs`.

    Raises:
        ValueError: If `held_out` is not between 0 and 1.

    Example:

    >>> train, test = split(dates(1000), held_out=0.2)
    >>> {date for _, date in train} & {date for _, date in test}
    set()
    """
    if not 0 < held_out < 1:
        raise ValueError(f"`held_out` must be between 0 and 1. Received: held_out={held_out}")
    days = sorted({date for _, date in pairs})
    random.Random(seed).shuffle(days)
    unseen = set(days[: round(len(days) * held_out)])
    train = [pair for pair in pairs if pair[1] not in unseen]
    test = [pair for pair in pairs if pair[1] in unseen]
    return train, test


def _date(year: int, month: int, day: int) -> datetime.date:
    received = f"Received: year={year}, month={month}, day={day}"
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise ValueError(f"`year` must be between {FIRST_YEAR} and {LAST_YEAR}. {received}")
    try:
        return datetime.date(year, month, day)
    except ValueError as error:
        raise ValueError(f"The date does not exist. {received}") from error


def _fields(date: datetime.date, language: str) -> dict[str, str]:
    names = "en" if language == "iso" else language
    month = MONTHS[names].split()[date.month - 1]
    weekday = WEEKDAYS[names].split()[date.weekday()]
    return {
        "d": f"{date.day}",
        "dd": f"{date.day:02}",
        "nth": _ordinal(date.day, language),
        "m": f"{date.month}",
        "mm": f"{date.month:02}",
        "month": month,
        "mon": month[:3],
        "yy": f"{date.year % 100:02}",
        "yyyy": f"{date.year}",
        "weekday": weekday,
        "wkd": weekday[:3],
    }


def _ordinal(day: int, language: str) -> str:
    if language == "fr":
        return "1er" if day == 1 else str(day)
    ending = {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}th" if day in (11, 12, 13) else f"{day}{ending}"
