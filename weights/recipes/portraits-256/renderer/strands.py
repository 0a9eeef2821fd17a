"""Strands of hair, as polylines: shaded by Kajiya and Kay (1989), drawn with a z-test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from renderer.lights import lit_share
from renderer.noise import JIT

NO_HAT = -99.0  # for `Strands.hidden_above`


@dataclass(frozen=True)
class Strands:
    """Strands of one sort, in the head's frame."""

    points: NDArray[np.float32]  # (n, K, 3)
    counts: NDArray[np.int64]  # (n,), how many of the K points are used
    random: NDArray[np.float32]  # (at least n, 4) in [0, 1)
    clumps: NDArray[np.int64]  # (at least n,), the strand by which a clump's colour varies
    heights: NDArray[np.float32]  # (n, K), above a hat's rim
    root_colour: NDArray[np.float64]  # (3,), linear RGB
    tip_colour: NDArray[np.float64]
    width: float  # pixels at 3x supersampling of a picture of 128 px
    layered: bool = False  # deep strands get less light, and colours vary more
    hidden_above: float = NO_HAT  # height from which on a hat hides them


@njit(**JIT)
def draw_strands(
    points, heights, counts, random, root, tip, distance, rotation, crop, S, depth, light, covered, lights, width,
    shadows, hidden_above, layered, variation, centre, clumps,
):  # fmt: skip
    """Project, shade and draw strands into light (S, S, 3), covered (S, S) and depth (S, S).

    rotation takes the head to the world; centre (3,) is that of the head, away from which surfaces under the strands
    are taken to face; variation is how much colours differ.
    """
    squared = crop[2] * crop[2] + crop[3] * crop[3]
    for i in range(points.shape[0]):
        m = counts[i]
        if m < 2:
            continue
        visible_0 = False
        u0 = 0.0
        v0 = 0.0
        d0 = 0.0
        r0 = 0.0
        g0 = 0.0
        b0 = 0.0
        va = 1 + variation * ((random[clumps[i], 1] - 0.5) * 0.5 + (random[i, 2] - 0.5) * 0.55)
        layer = random[i, 1]
        for k in range(m):
            px = points[i, k, 0]
            py = points[i, k, 1]
            pz = points[i, k, 2]
            X = px * rotation[0, 0] + py * rotation[0, 1] + pz * rotation[0, 2]
            Y = px * rotation[1, 0] + py * rotation[1, 1] + pz * rotation[1, 2]
            Z = px * rotation[2, 0] + py * rotation[2, 1] + pz * rotation[2, 2]
            d = distance - Z
            ix = X / d
            iy = -Y / d
            dx = ix - crop[0]
            dy = iy - crop[1]
            u = ((dx * crop[2] + dy * crop[3]) / squared + 1) * 0.5 * S
            v = ((-dx * crop[3] + dy * crop[2]) / squared + 1) * 0.5 * S
            ka = k if k > 0 else 1
            tx = points[i, ka, 0] - points[i, ka - 1, 0]
            ty = points[i, ka, 1] - points[i, ka - 1, 1]
            tz = points[i, ka, 2] - points[i, ka - 1, 2]
            tl = math.sqrt(tx * tx + ty * ty + tz * tz) + 1e-9
            tx /= tl
            ty /= tl
            tz /= tl
            ax = tx * rotation[0, 0] + ty * rotation[0, 1] + tz * rotation[0, 2]
            ay = tx * rotation[1, 0] + ty * rotation[1, 1] + tz * rotation[1, 2]
            az = tx * rotation[2, 0] + ty * rotation[2, 1] + tz * rotation[2, 2]
            hx = X - centre[0]
            hy = (Y - centre[1]) * 0.75
            hz = Z - centre[2]
            hl = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-6
            hx /= hl
            hy /= hl
            hz /= hl
            t = k / (m - 1.0)
            s = lit_share(X + hx * 0.35, Y + hy * 0.35, Z + hz * 0.35, shadows, 0.5)
            ao = 1.0
            if layered > 0:
                ao = (0.42 + 0.58 * layer) * (0.55 + 0.45 * min(1.0, t * 3.0))
            up = 0.5 + 0.5 * hy
            r = ao * (lights[3, 0] * up + lights[4, 0] * (1 - up))
            g = ao * (lights[3, 1] * up + lights[4, 1] * (1 - up))
            b = ao * (lights[3, 2] * up + lights[4, 2] * (1 - up))
            cr = root[0] * (1 - t) + tip[0] * t
            cg = root[1] * (1 - t) + tip[1] * t
            cb = root[2] * (1 - t) + tip[2] * t
            r *= cr * va
            g *= cg * va
            b *= cb * va
            vx = -X
            vy = -Y
            vz = distance - Z
            vl = math.sqrt(vx * vx + vy * vy + vz * vz)
            vx /= vl
            vy /= vl
            vz /= vl
            tv = ax * vx + ay * vy + az * vz
            sv = math.sqrt(max(0.0, 1 - tv * tv))
            for lamp in range(3):
                along = ax * lights[lamp, 0] + ay * lights[lamp, 1] + az * lights[lamp, 2]
                st = math.sqrt(max(0.0, 1 - along * along))
                hn = max(0.0, (hx * lights[lamp, 0] + hy * lights[lamp, 1] + hz * lights[lamp, 2] + 0.35) / 1.35)
                sh = (s if lamp == 0 else 0.75) * ao
                df = st * hn * sh * (0.95 if lamp < 2 else 0.4)
                # two highlights, shifted to the root and to the tip: the light's own colour, and the hair's
                c1 = max(0.0, st * sv - (along + 0.08) * tv)
                c2 = max(0.0, st * sv - (along - 0.12) * tv)
                rk = 0.35 if lamp == 2 else 1.0
                sp1 = c1**60 * 0.035 * hn * sh * rk
                sp2 = c2**14 * 0.45 * hn * sh * rk
                r += lights[lamp, 3] * (df * cr * va + sp1 + sp2 * cr * va)
                g += lights[lamp, 4] * (df * cg * va + sp1 * 0.95 + sp2 * cg * va)
                b += lights[lamp, 5] * (df * cb * va + sp1 * 0.88 + sp2 * cb * va)
            visible = True
            if hidden_above > -50 and heights[i, k] > hidden_above:
                visible = False
            if k > 0 and visible_0 and visible:
                du = u - u0
                dv = v - v0
                ln = max(abs(du), abs(dv))
                ns = int(ln) + 1
                if ns < 400 and not (max(u, u0) < -3 or min(u, u0) > S + 3 or max(v, v0) < -3 or min(v, v0) > S + 3):
                    w = width * (1 - 0.55 * t) * (0.8 + 0.4 * random[i, 3])
                    steep = abs(dv) > abs(du)
                    for e in range(ns):
                        f = (e + 0.5) / ns
                        uu = u0 + du * f
                        vv = v0 + dv * f
                        dd = d0 + (d - d0) * f - 0.01
                        cr_ = r0 + (r - r0) * f
                        cg_ = g0 + (g - g0) * f
                        cb_ = b0 + (b - b0) * f
                        if steep:
                            yy = math.floor(vv)
                            xa = math.ceil(uu - w * 0.5 - 0.5)
                            xb = math.floor(uu + w * 0.5 - 0.5)
                            if yy < 0 or yy >= S:
                                continue
                            for xx in range(max(xa, 0), min(xb, S - 1) + 1):
                                if dd < depth[yy, xx]:
                                    depth[yy, xx] = dd
                                    light[yy, xx, 0] = cr_
                                    light[yy, xx, 1] = cg_
                                    light[yy, xx, 2] = cb_
                                    covered[yy, xx] = 1
                        else:
                            xx = math.floor(uu)
                            ya = math.ceil(vv - w * 0.5 - 0.5)
                            yb = math.floor(vv + w * 0.5 - 0.5)
                            if xx < 0 or xx >= S:
                                continue
                            for yy in range(max(ya, 0), min(yb, S - 1) + 1):
                                if dd < depth[yy, xx]:
                                    depth[yy, xx] = dd
                                    light[yy, xx, 0] = cr_
                                    light[yy, xx, 1] = cg_
                                    light[yy, xx, 2] = cb_
                                    covered[yy, xx] = 1
            u0 = u
            v0 = v
            d0 = d
            r0 = r
            g0 = g
            b0 = b
            visible_0 = visible
