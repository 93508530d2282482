"""Rows of a study that never ran, with effects of a known size."""

import numpy as np

from relprop.study.schema import TABLES
from relprop.study.store import Store

CLASSES = [str(digit) for digit in range(10)]
STRENGTH = {  # mu = share ** (1 / strength): 1 is a uniform map
    "cmp-alpha2-flat": 3.2,
    "cmp-alpha2": 3.0,
    "cmp-alpha1-flat": 2.7,
    "cmp-alpha1": 2.6,
    "lrp-alpha2": 2.2,
    "lrp-alpha1": 1.7,
    "lrp-epsilon": 1.5,
    "lrp-z": 1.5,
    "guided-backprop": 1.8,
    "gradient": 1.3,
    "pattern-attribution": 1.72,
    "uniform": 1.0,
}
S_TOT = 4096
CONFIG = {
    "task_version": 1,
    "name": "digits",
    "data": {"name": "digits"},
    "model": {"name": "digits-deep", "depth": 16},
    "classes": CLASSES,
    "methods": list(STRENGTH),
    "seed": 0,
    "libraries": {"torch": "2"},
}


def tables(pictures=60, start=0, seed=0, strength=STRENGTH):
    """The four tables of `pictures` pictures from number `start`: mostly fine, the rest with every ailment."""
    rows = {name: [] for name in TABLES}
    for index in range(start, start + pictures):
        generator = np.random.default_rng([seed, index])
        shown = sorted(generator.choice(10, 1 + index % 3, replace=False).tolist())
        about = {"image_id": f"picture-{index:05d}", "image_index": index}
        shares = np.exp(generator.uniform(np.log(0.02), np.log(0.98), len(shown))) / len(shown)
        for digit, share in zip(shown, shares, strict=True):
            object_ = about | {"class_name": CLASSES[digit], "target": digit}
            object_ |= {"s_in": max(1, round(share * S_TOT)), "s_tot": S_TOT}
            rows["rows"] += measured(object_, len(shown), generator, strength)
            for part, size in (("context", 0.5), ("object", 9 - 4 * share)):
                rows["occlusion"].append(object_ | {"part": part, "delta": generator.normal(-size, 1)})
        for k, first in enumerate(shown):
            for second in shown[k + 1 :]:
                names = {"class_a": CLASSES[first], "class_b": CLASSES[second]}
                for method, power in strength.items():
                    cosine = np.clip(generator.normal(1 / power, 0.1), -1, 1)
                    rows["pairs"].append(about | names | {"method": method, "cosine": cosine})
        rows["predictions"].append(about | predicted(shown, index, generator))
    return rows


def measured(object_, number, generator, strength):
    """A row per method; one object in fifty is cropped out, one map in thirty is nowhere positive."""
    share = object_["s_in"] / S_TOT
    ease = generator.normal(0, 0.15)
    cropped = generator.random() < 0.02
    for method, power in strength.items():
        mu = float(np.clip(share ** (1 / (1 + (power - 1) * np.exp(ease))), 0, 1))
        status = "box_cropped_out" if cropped else "ok"
        if method == "lrp-alpha1" and generator.random() < 0.03:
            status = "no_positive_relevance"
        ok = status == "ok"
        others = 0.3 * (1 - share) if number > 1 else float("nan")
        yield {key: value for key, value in object_.items() if key not in ("s_in", "s_tot")} | {
            "method": method,
            "logit": 7.0 + ease,
            "status": status,
            "s_in": 0 if cropped else object_["s_in"],
            "s_tot": S_TOT,
            "mu": mu if ok else float("nan"),
            "mu_w": mu / share if ok else float("nan"),
            "pointing_game": float(generator.random() < mu) if ok else None,
            "rank_accuracy": mu * 0.9 if ok else None,
            "top_k": mu * 0.95 if ok else None,
            "relevance_sum": 7.0,
            "relevance_positive": 9.0,
            "negative_inside_others": others * (0.7 + power / 6) if ok and "alpha1" not in method else None,
            "others_area": others,
            "conservation_error": 1e-7,
            "bias": 0.5,
            "eps": 0.0,
            "lost": None,
        }


def predicted(shown, index, generator):
    """A prediction that is mostly right."""
    scores = generator.normal(0, 1, 10)
    scores[shown] += 3
    broken = index % 41 == 40
    return {
        "width": 64,
        "height": 64,
        "rescaled": False,
        "picture_sha256": None,
        "problem": "truncated file" if broken else "",
        "labels": [CLASSES[digit] for digit in shown],
        "targets": list(shown),
        "top5": [] if broken else np.argsort(-scores)[:5].tolist(),
        "scores": [] if broken else scores.tolist(),
    }


def write_study(folder, pictures=60, config=CONFIG, chunk=20, **kwargs):
    """A study on disk, in parts of `chunk` pictures."""
    store = Store(folder)
    store.begin(config)
    for part, start in enumerate(range(0, pictures, chunk)):
        store.write(part, tables(min(chunk, pictures - start), start, **kwargs))
    return store
