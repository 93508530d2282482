"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("torch", "torchvision", "relprop", "zennit", "captum", "numpy")

DATA_SHEETS = {  # FLOP/s of dense matrices: float32 through TF32 where it is allowed, and without
    "H100": {"tf32": 494.7e12, "float32": 66.9e12, "bfloat16": 989.4e12},
    "H200": {"tf32": 494.7e12, "float32": 66.9e12, "bfloat16": 989.4e12},
    "A100": {"tf32": 156e12, "float32": 19.5e12, "bfloat16": 312e12},
}


def machine(device: str, threads: int, dtype: torch.dtype) -> dict[str, Any]:
    """Return processor, memory, GPU, precision and what else is going on."""
    about: dict[str, Any] = {
        "device": device,
        "dtype": str(dtype).removeprefix("torch."),
        "threads": threads,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "ram": _ram(),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": load_average(),
    }
    if device == "cuda":
        about |= {
            "gpu": torch.cuda.get_device_name(),
            "gpu_memory": torch.cuda.get_device_properties(0).total_memory,
            "tf32_convolutions": torch.backends.cudnn.allow_tf32,
            "tf32_products": torch.backends.cuda.matmul.allow_tf32,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        }
    flops, source = _peak(about, dtype)
    return about | {"peak_flops": flops, "peak_source": source}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two results can stand in one file."""
    return all(one.get(k) == other.get(k) for k in ("device", "dtype", "threads", "cpu", "cores", "gpu"))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries."""
    found = {name: version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), **found, "cuda": str(torch.version.cuda)}


def load_average() -> list[float] | None:
    """Return how busy the machine was in the last 1, 5 and 15 minutes; None where it does not say."""
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None


def commit() -> str:
    """Return the checkout's commit, with "+" where files differ from it; "unknown" outside of one."""

    def git(*words: str) -> str:
        out = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603, S607
        return out.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--", "src") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def now() -> str:
    """Return date and time, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _ram() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _peak(about: dict[str, Any], dtype: torch.dtype) -> tuple[float, str]:
    """Return the FLOP/s that shares are of, and where they are from."""
    sheet = next((sheet for name, sheet in DATA_SHEETS.items() if name in about.get("gpu", "")), None)
    kind = "tf32" if about.get("tf32_convolutions") and dtype == torch.float32 else about["dtype"]
    if sheet and kind in sheet:
        return sheet[kind], f"data sheet, {kind}"
    side = 8192 if about["device"] == "cuda" else 1024
    return matrix_rate(side, about["device"], dtype), f"matrix product of side {side}, measured, best of ten"


def matrix_rate(side: int, device: str, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a square matrix product, the best of ten after a warm-up."""
    a = torch.rand(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(11):
        start = perf_counter()
        product = a @ a
        float(product[0, 0])  # waits for the device
        best = min(best, perf_counter() - start)
    return 2 * side**3 / best
