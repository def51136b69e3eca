#!/usr/bin/env python3
"""Real vectors of another kind than the shared ones: sentences of dictionaries and package descriptions, 256 dimensions.

    apt-get -o Acquire::Languages=en update && apt-get install dict-gcide dict-wn dict-foldoc dict-jargon
    pip install numpy wordllama
    benchmarks/sentences.py --base BASE.npy --query QUERY.npy

Sentences and parts of them that end in a semicolon, each once, of 16 to 300 characters, from the dictionaries of dictd and
Debian's long package descriptions, encoded by WordLlama (a mean of learnt token vectors, shipped with the package) and
made of unit length.  At random, 1,000 of them become queries, the others rows; the seed is fixed, the texts change only
with Debian's packages.
"""
import argparse
import glob
import gzip
import pathlib
import re
import subprocess

import numpy as np
import wordllama

DICTIONARIES = "/usr/share/dictd/*.dict.dz"
DESCRIPTIONS = "/var/lib/apt/lists/*_i18n_Translation-en*"
SHORTEST, LONGEST = 16, 300
QUERIES = 1000


def paragraphs():
    """Every paragraph of every source, on one line."""
    for path in sorted(glob.glob(DICTIONARIES)):
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as text:
            yield from re.split(r"\n\s*\n|\n(?=\S)", text.read())
    for path in sorted(glob.glob(DESCRIPTIONS)):
        command = ["/usr/lib/apt/apt-helper", "cat-file", path]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for description in re.findall(r"^Description-en: (.*(?:\n .*)*)", text, re.M):
            yield from re.split(r"\n \.?\n|\n(?! )", description.replace("\n .\n", "\n\n"))


def sentences():
    seen = set()
    for paragraph in paragraphs():
        for sentence in re.split(r"(?<=[.;!?])\s+", re.sub(r"\s+", " ", paragraph)):
            sentence = sentence.strip(" ;[]*-")
            if SHORTEST <= len(sentence) <= LONGEST:
                seen.add(sentence)
    return sorted(seen)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--query", required=True)
    options = parser.parse_args()

    texts = sentences()
    rng = np.random.default_rng(7)
    texts = [texts[i] for i in rng.permutation(len(texts))]
    # the tokenizer is in the package too, but looked for in the cache
    model = wordllama.WordLlama.load(cache_dir=pathlib.Path(wordllama.__file__).parent, disable_download=True)
    vectors = np.concatenate([model.embed(texts[i:i + 10_000], norm=True) for i in range(0, len(texts), 10_000)])
    vectors = np.unique(vectors.astype(np.float16), axis=0)
    vectors = vectors[np.isfinite(vectors).all(1) & (np.abs(vectors).max(1) > 0)]
    vectors = vectors[rng.permutation(len(vectors))]
    np.save(options.query, vectors[:QUERIES])
    np.save(options.base, vectors[QUERIES:])
    print(f"{len(vectors) - QUERIES:,} rows and {QUERIES:,} queries of {vectors.shape[1]} dimensions")


if __name__ == "__main__":
    main()
