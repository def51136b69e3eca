#!/usr/bin/env python3
"""Vectors of more dimensions than the real ones that they are made of, which have few degrees of freedom as those of large models do.

    pip install numpy
    benchmarks/dimensions.py --base packages_base.npy --query packages_query.npy --dimensions 1536 --out-base B.npy --out-query Q.npy

Every vector is turned into the wider space by the same random rotation, gets noise of 2 % of its energy in all of its
dimensions, and is made of unit length.  The seed is fixed.
"""
import argparse

import numpy as np

NOISE_ENERGY = 0.02


def widen(vectors, rotation, rng):
    wide = vectors.astype(np.float32) @ rotation
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    noise = rng.standard_normal(wide.shape, dtype=np.float32)
    wide += noise * np.sqrt(NOISE_ENERGY / wide.shape[1])
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--query", required=True)
    parser.add_argument("--dimensions", type=int, required=True)
    parser.add_argument("--rows", type=int, help="the first so many rows; all by default")
    parser.add_argument("--out-base", required=True)
    parser.add_argument("--out-query", required=True)
    options = parser.parse_args()

    base, query = np.load(options.base)[: options.rows], np.load(options.query)
    if base.shape[1] != query.shape[1] or options.dimensions < base.shape[1]:
        parser.error(f"rows have {base.shape[1]} dimensions, queries {query.shape[1]}: expected as many, at most {options.dimensions}")
    rng = np.random.default_rng(7)
    # orthonormal rows
    rotation = np.linalg.qr(rng.standard_normal((options.dimensions, base.shape[1])))[0].T.astype(np.float32)
    np.save(options.out_base, widen(base, rotation, rng))
    np.save(options.out_query, widen(query, rotation, rng))


if __name__ == "__main__":
    main()
