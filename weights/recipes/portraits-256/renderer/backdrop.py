"""What is behind the head, what lenses do to what is behind them, and the way from light to a picture."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from renderer.colours import SUNGLASS_HUES, Colour, from_hsv
from renderer.noise import JIT, noise, smoothstep
from renderer.parameters import Parameters

BLOBS = 5
GRADIENT, SOFT, BOKEH = range(3)  # cases of "bg"


def background_of(person: Parameters, size: int) -> NDArray[np.float64]:
    """Light (size, size, 3) of the background: a gradient, with soft blobs or bokeh upon it."""
    first = from_hsv(person.uniform("bg_h0"), 0.6 * person.uniform("bg_s0") ** 1.6, person.uniform("bg_v0", 0.08, 0.95))
    second = from_hsv(
        person.uniform("bg_h0") + 0.12 * person.normal("bg_h1"),
        0.6 * person.uniform("bg_s1") ** 1.6,
        person.uniform("bg_v1", 0.08, 0.95),
    )
    numbers = range(BLOBS)
    x = np.array([0.34 * person.normal(f"bg{k}_x") for k in numbers])
    y = np.array([0.34 * person.normal(f"bg{k}_y") for k in numbers])
    radii = np.array([person.uniform(f"bg{k}_r", 0.14, 0.5) for k in numbers])
    colours = np.array(
        [from_hsv(person.uniform(f"bg{k}_h"), 0.32, person.uniform(f"bg{k}_v", 0.1, 1.0)) for k in numbers]
    )
    result = np.zeros((size, size, 3), np.float64)
    _paint(person.choice("bg"), first, second, 2 * person.normal("bg_ang"), x, y, radii, colours, result)
    return result


def lens_of(person: Parameters) -> tuple[Colour, float, float]:
    """Tint, opacity and reflection of the lenses: clear, or those of sunglasses."""
    if not person.choice("sun_on"):
        return np.array([0.10, 0.11, 0.12]), 0.05, 0.028
    hue = SUNGLASS_HUES[min(3, int(person.uniform("lens_tint") * 4))]
    return from_hsv(hue, 0.3, 0.07), 0.96, 0.016


@njit(**JIT)
def _paint(kind, first, second, angle, bx, by, radii, colours, out):
    h, w = out.shape[0], out.shape[1]
    ca = math.cos(angle)
    sa = math.sin(angle)
    for y in range(h):
        for x in range(w):
            u = x / w - 0.5
            v = y / h - 0.5
            t = smoothstep(-0.6, 0.6, u * ca + v * sa)
            r = first[0] * (1 - t) + second[0] * t
            g = first[1] * (1 - t) + second[1] * t
            b = first[2] * (1 - t) + second[2] * t
            if kind > 0:
                for k in range(5):
                    dx = u - bx[k]
                    dy = v - by[k]
                    d = math.sqrt(dx * dx + dy * dy)
                    if kind == 1:
                        m = 0.85 * math.exp(-((d / radii[k]) ** 2) * 1.5)
                    else:
                        disc = radii[k] * 0.42
                        m = 0.55 * (1 - smoothstep(disc * 0.8, disc, d)) * (0.75 + 0.25 * smoothstep(0.0, disc, d))
                        for e in range(3):  # satellites
                            ex = u - bx[(k + e + 1) % 5] - 0.21 * math.cos(k * 2.1 + e * 1.7)
                            ey = v - by[(k + e + 1) % 5] - 0.23 * math.sin(k * 1.3 + e * 2.9)
                            d2 = math.sqrt(ex * ex + ey * ey)
                            m += 0.3 * (1 - smoothstep(disc * 0.5, disc * 0.65, d2))
                        m = min(m, 0.85)
                    r = r * (1 - m) + m * colours[k, 0]
                    g = g * (1 - m) + m * colours[k, 1]
                    b = b * (1 - m) + m * colours[k, 2]
            grain = 1 + 0.05 * (noise(u * 5.0 + angle, v * 5.0, 1.0) - 0.5)
            out[y, x, 0] = r * grain
            out[y, x, 1] = g * grain
            out[y, x, 2] = b * grain


@njit(**JIT)
def look_through_lenses(
    depth, lens_depth, lens_ids, light, covered, background, supersampling, lights, tint, opacity, reflection
):
    """Tint, in place, the light (S, S, 3) of what is behind a lens, and add reflected stripes."""
    H, W = depth.shape
    for y in range(H):
        for x in range(W):
            if lens_ids[y, x] < 0 or lens_depth[y, x] > depth[y, x]:
                continue
            fx = x / W
            fy = y / H
            a = opacity * (1.0 - 0.25 * smoothstep(0.35, 0.6, fy))
            g = reflection * (smoothstep(0.0, 1.0, 0.5 + 0.5 * math.sin((fx * 1.2 + fy) * 16.0)) * 0.6 + 0.4)
            for k in range(3):
                if covered[y, x] == 0:
                    light[y, x, k] = background[y // supersampling, x // supersampling, k]
                light[y, x, k] = (
                    light[y, x, k] * (1 - a) + tint[k] * a + g * (lights[3, k] * 0.5 + lights[0, 3 + k] * 0.3)
                )
            covered[y, x] = 1


@njit(**JIT)
def develop(light, covered, background, supersampling, exposure, contrast, out):
    """Average light (S, S, 3) over each pixel of out (H, W, 3), and take it to sRGB in [0, 1]."""
    h, w = out.shape[0], out.shape[1]
    inv = 1.0 / (supersampling * supersampling)
    for y in range(h):
        for x in range(w):
            for k in range(3):
                a = 0.0
                for j in range(supersampling):
                    for i in range(supersampling):
                        yy = y * supersampling + j
                        xx = x * supersampling + i
                        v = light[yy, xx, k] if covered[yy, xx] else background[y, x, k]
                        v *= exposure
                        v = v * (1 + v / 4.0) / (1 + v) * 1.28  # a soft shoulder (Reinhard et al. 2002)
                        a += v
                a *= inv
                a = min(max(a, 0.0), 1.0)
                s = 12.92 * a if a < 0.0031308 else 1.055 * a ** (1 / 2.4) - 0.055
                s = s + contrast * (s - 0.5) * (1 - s) * s * 4
                out[y, x, k] = min(max(s, 0.0), 1.0)
