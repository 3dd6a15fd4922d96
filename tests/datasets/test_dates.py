import datetime

import pytest

from keras_attention.datasets import dates as module
from keras_attention.datasets.dates import (
    FORMS,
    LOCALES,
    MONTHS,
    WEEKDAYS,
    dates,
    iso,
    split,
    write,
)


@pytest.mark.parametrize(
    ("text", "locale", "day"),
    [
        ("3/7/2021", "en-US", (2021, 3, 7)),
        ("03/07/21", "en-US", (2021, 3, 7)),
        ("March 3rd, 2021", "en-US", (2021, 3, 3)),
        ("Tuesday 3 March 98", "en-GB", (1998, 3, 3)),
        ("3rd of March, 2021", "en-GB", (2021, 3, 3)),
        ("11th January 2049", "en-GB", (2049, 1, 11)),
        ("22 Sep '50", "en-GB", (1950, 9, 22)),
        ("7.3.2021", "de", (2021, 3, 7)),
        ("Sonntag, den 7. März 2021", "de", (2021, 3, 7)),
        ("le lundi 1er février 2021", "fr", (2021, 2, 1)),
        ("miércoles, 30 de septiembre de 2015", "es", (2015, 9, 30)),
        ("venerdì 25 dicembre 2020", "it", (2020, 12, 25)),
        ("9 мая 1975 г.", "ru", (1975, 5, 9)),
        ("2021年3月7日", "ja", (2021, 3, 7)),
        ("2021年3月7日(日)", "ja", (2021, 3, 7)),
        ("2021/03/07", "ja", (2021, 3, 7)),
        ("20210307", "iso", (2021, 3, 7)),
        ("7-3-2021", "iso", (2021, 3, 7)),
    ],
)
def test_write_contains_the_forms_of_each_locale(text, locale, day):
    assert text in write(*day, locale)
    assert iso(*day) == datetime.date(*day).isoformat()


@pytest.mark.parametrize(
    "day", [(2021, 2, 31), (2100, 2, 29), (2023, 2, 29), (2020, 13, 1), (2020, 1, 0)]
)
def test_dates_that_do_not_exist_raise(day):
    for refused in (lambda: iso(*day), lambda: write(*day, "de")):
        with pytest.raises(
            ValueError, match=rf"Received: year={day[0]}, month={day[1]}, day={day[2]}"
        ):
            refused()


@pytest.mark.parametrize("year", [1949, 2050])
def test_years_outside_1950_to_2049_raise(year):
    with pytest.raises(ValueError, match=f"between 1950 and 2049. Received: year={year}"):
        iso(year, 1, 1)


def test_leap_day():
    assert iso(2024, 2, 29) == "2024-02-29"


def test_every_language_has_twelve_months_and_seven_weekdays():
    assert {len(names.split()) for names in MONTHS.values()} == {12}
    assert {len(names.split()) for names in WEEKDAYS.values()} == {7}
    assert MONTHS.keys() == WEEKDAYS.keys()


def texts_of_years(years):
    for year in years:
        day = datetime.date(year, 1, 1)
        while day.year == year:
            for locale in LOCALES:
                for text in write(day.year, day.month, day.day, locale):
                    yield text, day.isoformat()
            day += datetime.timedelta(1)


def assert_one_meaning(pairs):
    meaning = {}
    for text, date in pairs:
        for written in {text, text.lower(), text.upper()}:
            assert meaning.setdefault(written, date) == date, written
            assert len(written) <= 35


def test_texts_are_unambiguous():
    # Years whose digits could be read as a day or a month of each other.
    assert_one_meaning(texts_of_years((1950, 1998, 2001, 2002, 2010, 2012, 2021)))


@pytest.mark.slow
def test_texts_are_unambiguous_over_all_years():
    assert_one_meaning(texts_of_years(range(1950, 2050)))


def test_dates_depend_on_the_seed_only():
    assert dates(50, seed=3) == dates(50, seed=3)
    assert dates(50, seed=3) != dates(50, seed=4)
    assert dates(50, seed=3)[:20] == dates(20, seed=3)


def test_dates_use_every_form_and_case():
    pairs = dates(6000, seed=0)
    known = {(text.lower(), date) for text, date in pairs}
    for locale, forms in FORMS.items():
        used = set()
        for _, date in pairs:
            year, month, day = map(int, date.split("-"))
            written = write(year, month, day, locale)
            used |= {i for i, text in enumerate(written) if (text.lower(), date) in known}
        assert used == set(range(len(forms))), locale
    texts = [text for text, _ in pairs if text.lower() != text.upper()]
    assert any(text.islower() for text in texts)
    assert any(text.isupper() for text in texts)
    assert any(text.istitle() for text in texts)


def test_dates_of_one_locale():
    assert all(text[:4] == date[:4] for text, date in dates(30, locales=("ja",)))


def test_dates_rejects_invalid_arguments():
    assert dates(0) == []
    with pytest.raises(ValueError, match="Received: count=-1"):
        dates(-1)
    with pytest.raises(ValueError, match="Received: locale='tlh'"):
        dates(1, locales=("tlh",))
    with pytest.raises(ValueError, match=r"Received: locales=\(\)"):
        dates(1, locales=())


def test_split_holds_out_whole_dates():
    pairs = dates(5000, seed=2)
    train, test = split(pairs, held_out=0.1, seed=5)
    assert sorted(train + test) == sorted(pairs)
    days, unseen = {day for _, day in train}, {day for _, day in test}
    assert not days & unseen
    assert len(unseen) == round(0.1 * len(days | unseen))
    assert split(pairs, held_out=0.1, seed=5) == (train, test)
    assert split(pairs, held_out=0.1, seed=6) != (train, test)


@pytest.mark.parametrize("held_out", [0, 1, -0.5])
def test_split_rejects_an_empty_side(held_out):
    with pytest.raises(ValueError, match=f"Received: held_out={held_out}"):
        split(dates(10), held_out=held_out)


def test_package_exports_the_module():
    from keras_attention import datasets

    assert datasets.dates is module
