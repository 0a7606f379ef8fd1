from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from glassbert import VocabularyError, learn_vocabulary
from glassbert.text import (
    SPECIAL_TOKENS,
    BasicTokenizer,
    Coverage,
    learn_from_counts,
    measure_coverage,
    missing_characters,
)

COUNTS = {"ab": 3, "abc": 2, "cab": 1}


def _words(seed: int, letters: str = "abcdef", number: int = 300) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(letters, k=min(12, 1 + int(rng.expovariate(0.3))))) for _ in range(number)]


def test_counts_stand_for_texts() -> None:
    words = _words(0)
    assert learn_from_counts(Counter(words), size=150) == learn_vocabulary([" ".join(words)], size=150)


def test_the_order_of_the_counts_does_not_matter() -> None:
    counts = Counter(_words(1))
    for seed in range(4):
        shuffled = list(counts.items())
        random.Random(seed).shuffle(shuffled)
        assert learn_from_counts(dict(shuffled), size=150) == learn_from_counts(counts, size=150)


@pytest.mark.parametrize(
    ("word", "learned"),
    [
        ("abab", ["##a", "##b", "a", "b", "##ab", "##bab", "abab"]),
        ("aaaa", ["##a", "a", "##aa", "##aaa", "aaaa"]),
        ("aaaaa", ["##a", "a", "##aa", "##aaaa", "aaaaa"]),
        ("bababab", ["##a", "##b", "a", "b", "##ab", "##abab", "##ababab", "bababab"]),
    ],
)
def test_a_pair_that_follows_itself(word: str, learned: list[str]) -> None:
    assert list(learn_from_counts({word: 2}, size=50))[5:] == learned


def test_a_piece_that_is_joined_in_two_ways_is_one_token() -> None:
    # abc comes from ab+c in the first words, and from a+bc in xabc, where bc was joined before.
    counts = {"ab": 9, "abc": 5, "bc": 20, "xbc": 20, "xabc": 6}
    vocabulary = learn_from_counts(counts, size=60)
    assert len(set(vocabulary)) == len(vocabulary)
    assert set(counts) <= set(vocabulary)


def test_special_tokens_come_first_and_are_no_words() -> None:
    special = [*SPECIAL_TOKENS, "[E1]", "[E2]"]
    vocabulary = learn_from_counts({"[E1]": 100, "ab": 2}, size=50, special_tokens=special)
    assert list(vocabulary) == [*special, "##b", "a", "b", "ab"]


def test_the_alphabet_keeps_the_most_frequent_characters() -> None:
    counts = {"ab": 5, "zb": 5, "cz": 2, "q": 4, "p": 4}  # b 10, z 7, a 5, p and q 4, c 2
    kept = {
        limit: list(learn_from_counts(counts, size=50, min_frequency=2, alphabet_size=limit))[5:] for limit in (1, 2, 4)
    }
    assert kept[1] == ["##b", "b"]
    assert kept[2] == ["##b", "##z", "b", "z", "zb"]
    assert kept[4] == ["##b", "##z", "a", "b", "p", "z", "ab", "zb"]
    assert learn_from_counts(counts, size=50, alphabet_size=100) == learn_from_counts(counts, size=50)


def test_no_piece_is_joined_across_a_character_that_is_left_out() -> None:
    vocabulary = learn_from_counts({"aéb": 50, "ab": 3, "abéab": 50, "éab": 9, "abé": 9}, size=50, alphabet_size=2)
    # Were é passed over in silence, aéb would be counted as ab.
    assert set(vocabulary) - set(SPECIAL_TOKENS) == {"a", "b", "##a", "##b", "ab", "##ab"}
    assert missing_characters(vocabulary, {"aéb": 50, "éé": 2}) == {"é": 54}


def test_chinese_needs_no_pieces_inside_words() -> None:
    counts = Counter(BasicTokenizer().tokenize("中国人民中国人民"))
    assert list(learn_from_counts(counts, size=9))[5:] == ["中", "人", "国", "民"]
    assert list(learn_from_counts(counts, size=7, alphabet_size=2))[5:] == ["中", "人"]


def test_what_would_fit_is_told() -> None:
    with pytest.raises(VocabularyError) as caught:
        learn_from_counts({"ab": 3, "cb": 2, "db": 2}, size=8)
    assert str(caught.value) == (
        "size 8 is too small: 5 special tokens and 5 characters come first; use 10 or more, "
        "or an alphabet of the 2 most frequent characters"
    )
    assert len(learn_from_counts({"ab": 3, "cb": 2, "db": 2}, size=10)) == 10
    assert len(learn_from_counts({"ab": 3, "cb": 2, "db": 2}, size=8, alphabet_size=2)) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 2_000_000}, "size is 2000000"),
        ({"min_frequency": 0}, "min_frequency is 0"),
        ({"alphabet_size": 0}, "alphabet_size is 0"),
        ({"special_tokens": ["[A]", "[B]", "[A]"]}, r"'\[A\]' is named twice"),
        ({"special_tokens": ["[A]", ""]}, "a special token is ''"),
        ({"special_tokens": ["a\nb"]}, r"a special token is 'a\\nb'"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], message: str) -> None:
    with pytest.raises(VocabularyError, match=message):
        learn_from_counts(COUNTS, **{"size": 50, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize("counts", [{}, {"ab": 0}, {"": 5}, {"[CLS]": 7}])
def test_counts_without_words(counts: dict[str, int]) -> None:
    with pytest.raises(VocabularyError, match="no words"):
        learn_from_counts(counts, size=50)


def test_progress_counts_tokens() -> None:
    seen: list[tuple[int, int]] = []
    vocabulary = learn_from_counts(Counter(_words(2)), size=100, on_progress=lambda *now: seen.append(now))
    assert [size for _, size in seen] == [100] * len(seen)
    assert [tokens for tokens, _ in seen] == list(range(101 - len(seen), 101))
    assert len(vocabulary) == 100


def _size_before_a_tie(counts: dict[str, int]) -> int:
    """Join pairs until two are equally frequent and return how many tokens there are then, without special tokens."""
    words = {word: [word[0], *("##" + char for char in word[1:])] for word in counts}
    known = {piece for pieces in words.values() for piece in (*pieces, *(piece[-1] for piece in pieces))}
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                pairs[pair] += counts[word]
        (best, highest), (_, next_highest) = pairs.most_common(2)
        if highest == next_highest:
            return len(known)
        joined = best[0] + best[1].removeprefix("##")
        known.add(joined)
        for pieces in words.values():
            place = 0
            while place < len(pieces) - 1:
                if (pieces[place], pieces[place + 1]) == best:
                    pieces[place : place + 2] = [joined]
                place += 1


@pytest.mark.parametrize("seed", range(3))
def test_tokenizers_finds_the_same_tokens_until_pairs_tie(seed: int) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    rng = random.Random(seed)
    counts = {word: rng.randrange(20, 4000) for word in dict.fromkeys(_words(seed, "abcd", 150))}
    size = _size_before_a_tie(counts)
    assert size > 40
    trained = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    trained.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=size, min_frequency=2, show_progress=False)
    trained.train_from_iterator((" ".join([word] * count) for word, count in counts.items()), trainer)
    assert set(learn_from_counts(counts, size=size, special_tokens=[])) == set(trained.get_vocab())


def test_coverage_by_hand() -> None:
    vocabulary = {token: index for index, token in enumerate(["[UNK]", "a", "##b", "ab", "##c"])}
    counts = {"ab": 4, "abc": 2, "a": 1, "ax": 3, "b": 1}
    coverage = measure_coverage(vocabulary, counts, too_long=2)
    assert coverage == Coverage(
        words=13,
        characters=8 + 6 + 1 + 6 + 1,
        tokens=4 + 4 + 1 + 3 + 1 + 2,
        covered_characters=8 + 6 + 1 + 3,
        unknown_words=3 + 1 + 2,
        whole_words=4 + 1,
    )
    assert coverage.character_coverage == 18 / 22
    assert coverage.unknown_rate == 6 / 13
    assert coverage.whole_rate == 5 / 13
    assert coverage.tokens_per_word == 15 / 13
    assert coverage.to_dict()["tokens_per_word"] == 15 / 13


def test_an_unknown_token_in_the_text_is_unknown() -> None:
    coverage = measure_coverage({"[UNK]": 0, "[MASK]": 1}, {"[UNK]": 1, "[MASK]": 1})
    assert (coverage.unknown_words, coverage.whole_words) == (1, 1)


def test_words_that_are_all_too_long() -> None:
    coverage = measure_coverage({"a": 0}, {}, too_long=3)
    assert (coverage.words, coverage.unknown_rate, coverage.character_coverage) == (3, 1.0, 1.0)


def test_coverage_of_nothing_is_refused() -> None:
    with pytest.raises(VocabularyError, match="no words"):
        measure_coverage({"a": 0}, {})
