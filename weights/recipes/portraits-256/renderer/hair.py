"""Hair of the head: strands that grow from fixed roots, fall under gravity, keep off the face, clump and wave."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from renderer.colours import BLOND, Colours
from renderer.hat import height_above_rim
from renderer.head import Head
from renderer.noise import JIT, F, smoothstep
from renderer.parameters import BUZZ, SHORT, Parameters
from renderer.scalp import CX, CY, CZ, DEGREES, height_above_hairline, look_up
from renderer.strands import NO_HAT, Strands

POINTS = 26  # of the longest strand
POINTS_BUZZ, POINTS_SHORT = 5, 12
ROOTS_BUZZ = 9000
BACK = 1  # case of "sweep": combed back
HEAD_STRAND, BANG = 0, 1  # kinds of strand
HAT_PRESSES_UNDER = 0.05  # cm above a hat's rim; hair above it is not seen


class Cut(NamedTuple):
    """How hair is cut and combed; all float, so that it is compiled once. Lengths in cm, angles in degrees."""

    style: float
    length: float  # 0 to 1
    bangs: float  # 0 or 1
    bangs_height: float
    bangs_side: float  # how far they are combed to a side
    parting: float  # where it is, right of the middle
    frame: float  # angle from straight ahead that long hair keeps free
    sweep: float
    volume: float  # 0 to 1
    lift: float  # of the front of the hairline
    recede: float  # of the temples
    wavy: float  # 0 or 1
    wave_height: float
    wave_count: float  # radians per cm
    hat: float  # 0 or 1
    phase: float
    curls: float  # 0 or 1: tight ones that stand off
    sideburns: float  # 0 or 1


def cut_of(person: Parameters) -> Cut:
    """Decode the parameters."""
    style, hat = person.choice("hair_style"), person.choice("hat_on")
    wavy, bangs = person.choice("wavy_on") and style >= SHORT, person.choice("bangs_on") and style >= SHORT
    curl = person.uniform("curl_amt")
    long = style > SHORT
    return Cut(
        style=float(style),
        length=person.uniform("hair_len"),
        bangs=float(bangs),
        bangs_height=person.uniform("bangs_len", 5.6, 7.4),
        bangs_side=float(np.clip(person.normal("bangs_side"), -1.6, 1.6)),
        parting=float(np.clip(1.6 * person.normal("part"), -3.2, 3.2)),
        frame=person.uniform("frame", 58, 84),
        sweep=float(person.choice("sweep")),
        volume=person.uniform("volume"),
        lift=0.4 * person.normal("hairline") - 0.45,
        recede=max(0.0, 0.8 * person.normal("recede")),
        wavy=float(wavy),
        wave_height=(0.36 + 0.46 * curl) * (1 if long else 0.9) * (0.5 if hat else 1),
        wave_count=(1.3 + 2.4 * person.uniform("curl_freq")) * (1 if long else 1.7),
        hat=float(hat),
        phase=person.normal("hair_ph") * 2.0,
        curls=float(style == SHORT and wavy and curl > 0.45 and not bangs),
        sideburns=float(person.choice("sideburns_on")),
    )


def grow_hair(head: Head, cut: Cut, colours: Colours, hair_color: int, spheremap: NDArray[np.float32]) -> Strands:
    """Strands in the head's frame, moved with the identity.

    Args:
        head: gives the roots.
        cut: style above BALD.
        colours: of the hair.
        hair_color: its case.
        spheremap: what the identity adds to the mean head (`Head.spheremap`).
    """
    style = int(cut.style)
    count = ROOTS_BUZZ if style == BUZZ else len(head.scalp_roots.points)
    points = np.zeros((count, POINTS, 3), F)
    counts, kinds = np.zeros(count, np.int64), np.zeros(count, np.int64)
    phase = cut.phase
    shift = np.array([phase * 0.37, phase * 0.71, phase * 0.13, phase * 0.53], F)
    random = np.ascontiguousarray((head.scalp_roots.random + shift) % 1.0, F)
    longest = {BUZZ: POINTS_BUZZ, SHORT: POINTS if cut.bangs else POINTS_SHORT}.get(style, POINTS)
    roots, normals, clumps = head.scalp_roots.points[:count], head.scalp_normals[:count], head.scalp_clumps[:count]
    _grow(roots, normals, random, clumps, cut, head.radius, longest, points, counts, kinds)
    _clump(clumps, style, points, counts, kinds)
    if cut.wavy > 0.5:
        _wave(random, clumps, cut, points, counts, kinds)
    heights = height_above_rim(points).astype(F)
    _displace(points, counts, spheremap)
    tint = np.array([1.0, 0.90, 0.76]) if hair_color == BLOND else 1.0  # darker roots
    return Strands(
        points,
        counts,
        random,
        head.scalp_clumps,
        heights,
        colours.hair * (0.75 if style > BUZZ else 0.8) * tint,
        colours.hair * (1.12 if style > BUZZ else 0.9),
        width={BUZZ: 1.25, SHORT: 1.9}.get(style, 2.1),
        layered=True,
        hidden_above=HAT_PRESSES_UNDER if cut.hat else NO_HAT,
    )


@njit(**JIT)
def _grow(roots, normals, random, clumps, cut, radius, longest, points, counts, kinds):
    """Grow a polyline from each root (n, 3): write points (n, POINTS, 3), counts (n,) and kinds (n,)."""
    style = int(cut.style)
    for i in range(roots.shape[0]):
        x = roots[i, 0]
        y = roots[i, 1]
        z = roots[i, 2]
        counts[i] = 0
        kinds[i] = 0
        h = height_above_hairline(x, y, z, cut.lift, cut.recede)
        angle = math.atan2(abs(x), z + 0.5) * DEGREES
        if cut.sideburns > 0.5 and angle > 62 and angle < 80 and y > 0.6 and abs(x) < 8 and y < 6:
            h = max(h, 0.3)
        if h < 0:
            continue
        r0 = random[i, 0]
        r1 = random[i, 1]
        r2 = random[i, 2]
        r3 = random[i, 3]
        g = clumps[i]
        c0 = random[g, 0]
        c1 = random[g, 1]
        c2 = random[g, 2]
        nx = normals[i, 0]
        ny = normals[i, 1]
        nz = normals[i, 2]
        top = smoothstep(6.5, 11.5, y)
        bang = False
        if style >= 2 and cut.bangs > 0.5 and angle < 50 + 8 * r3 and h < 3.2 + 1.0 * r2 and y > 8 and z > 1:
            bang = True
        end = -99.0  # height at which the strand is cut
        gravity = 1.0
        stiffness = 1.0
        decay = 6.0
        lift = 0.0
        side = 1.0 if x > cut.parting + (c1 - 0.5) * 1.0 else -1.0
        if style == 1:
            length = 0.30 + 0.25 * r0
            dx = nx + 0.5 * (c0 - 0.5)
            dy = ny - 0.4
            dz = nz + 0.3
            gravity = 0.2
            lift = 1.2
        elif style == 2 and cut.curls > 0.5 and not bang:
            length = (1.0 + 3.4 * cut.volume + 0.5 * r0) * (0.45 + 0.55 * top) * (0.35 + 0.65 * smoothstep(0.0, 1.8, h))
            dx = nx + 0.5 * (c0 - 0.5)
            dy = ny + 0.5 * (c1 - 0.5)
            dz = nz + 0.5 * (c2 - 0.5)
            gravity = 0.12
            stiffness = 1.0
            decay = 30.0
            lift = 1.4
        elif style == 2:
            length = (1.1 + 0.5 * r0) * (1 - top) + top * (2.6 + 2.0 * cut.length + 0.9 * r0)
            length *= 0.55 + 0.45 * smoothstep(0.0, 2.5, h)
            sweep = int(cut.sweep)
            if sweep == 0:
                dx = 0.25 * side
                dy = 0.1
                dz = 0.9
            elif sweep == 1:
                dx = 0.15 * side
                dy = 0.45
                dz = -0.9
            else:
                dx = side * 1.0
                dy = 0.15
                dz = 0.1
            # the sides and the back flow away from the whorl of the crown
            fx = x
            fy = y - 13.0
            fz = z + 4.0
            fl = math.sqrt(fx * fx + fy * fy + fz * fz) + 1e-6
            dx = dx * top + (1 - top) * fx / fl * 0.4
            dy = dy * top - (1 - top) * 1.0
            dz = dz * top + (1 - top) * (fz / fl * 0.5 + (-0.25 if z < 3 else 0.0))
            gravity = 0.42
            stiffness = 1.0
            decay = 12.0
            lift = (0.16 + 0.5 * cut.volume) * top * top + 0.10
            if sweep == 1:
                lift += 0.35 * top * smoothstep(2.0, 8.0, z)
        else:
            length = 40.0
            dx = side * 1.0
            dy = 0.1
            dz = -0.35 if cut.sweep > 0.5 else 0.05
            if z < -1:
                dx *= 0.45
                dz = -0.5
            end = (-3.2 - 3.2 * cut.length) if style == 3 else (-12.5 - 5.0 * cut.length)
            end += (r0 - 0.5) * 1.6 + (c2 - 0.5) * 1.6
            gravity = 1.0
            stiffness = 1.0
            decay = 4.0
            lift = 0.06 + 0.26 * cut.volume
        if bang:
            kinds[i] = 1
            dx = 0.55 * cut.bangs_side + (x * 0.03) + (c0 - 0.5) * 0.25
            dy = -0.15
            dz = 0.8
            gravity = 0.9
            stiffness = 0.8
            decay = 4.0
            lift = 0.25
            length = 12.0
            end = (
                cut.bangs_height
                + (r0 - 0.5) * 0.9
                + (c2 - 0.5) * 0.8
                + 0.10 * x * cut.bangs_side * -1.0
                + 0.012 * x * x * -1.0
            )
            if style == 2:
                lift = 0.2
        dx += (c0 - 0.5) * 0.35 + (r1 - 0.5) * 0.14
        dy += (c1 - 0.5) * 0.2 + (r2 - 0.5) * 0.1
        dz += (c2 - 0.5) * 0.35 + (r3 - 0.5) * 0.14
        thick = (0.20 if style <= 2 else 0.32) + r1 * (
            (0.25 + 0.5 * cut.volume) if style <= 2 else (0.45 + 0.9 * cut.volume)
        ) * (1.0 if not bang else 0.5)
        if cut.hat > 0.5:
            thick *= 0.45
            lift *= 0.2
        if style == 1:
            thick = 0.05
        step = length / (longest - 1)
        if length > 20:
            step = 1.45
        if bang:
            step = 0.5
        x -= nx * 0.05
        y -= ny * 0.05
        z -= nz * 0.05
        points[i, 0, 0] = x
        points[i, 0, 1] = y
        points[i, 0, 2] = z
        count = 1
        grown = 0.0
        for k in range(1, longest):
            qx = x - CX
            qy = y - CY
            qz = z - CZ
            ql = math.sqrt(qx * qx + qy * qy + qz * qz) + 1e-6
            qx /= ql
            qy /= ql
            qz /= ql
            w = stiffness * math.exp(-grown / decay)
            ex = dx * w - (x * 0.045 * smoothstep(3.0, -3.0, y) if style >= 3 else 0.0)
            ey = dy * w - gravity * min(1.0, 0.35 + grown / 5.0)
            ez = dz * w
            # along the scalp, while it is near
            rr = look_up(radius, qx, qy, qz)[3]
            near = 1.0 if ql < rr + thick + (1.4 if style == 2 else 0.6) else 0.0
            dot = ex * qx + ey * qy + ez * qz
            if near > 0 and style != 1 and y > -4 and not (style == 2 and cut.curls > 0.5 and not bang):
                ex -= dot * qx
                ey -= dot * qy
                ez -= dot * qz
            el = math.sqrt(ex * ex + ey * ey + ez * ez) + 1e-6
            lf = lift * math.exp(-grown / (1.2 if style <= 2 else 2.0))
            ex = ex / el + qx * lf
            ey = ey / el + qy * lf
            ez = ez / el + qz * lf
            el = math.sqrt(ex * ex + ey * ey + ez * ez) + 1e-6
            x += ex / el * step
            y += ey / el * step
            z += ez / el * step
            grown += step
            # out of the head
            qx = x - CX
            qy = y - CY
            qz = z - CZ
            ql = math.sqrt(qx * qx + qy * qy + qz * qz) + 1e-6
            rr = look_up(radius, qx, qy, qz)[3] + thick * min(1.0, grown / 1.2)
            if ql < rr:
                f = rr / ql
                x = CX + qx * f
                y = CY + qy * f
                z = CZ + qz * f
            if style == 2 and cut.curls < 0.5:  # short hair hugs the skull
                limit = rr - thick * min(1.0, grown / 1.2) + thick + (1.9 if cut.sweep == 1 and z > 0 else 0.75)
                qx = x - CX
                qy = y - CY
                qz = z - CZ
                ql = math.sqrt(qx * qx + qy * qy + qz * qz) + 1e-6
                if ql > limit:
                    f = limit / ql
                    x = CX + qx * f
                    y = CY + qy * f
                    z = CZ + qz * f
            # off the face
            if style >= 2 and not bang and z > -1 and y < 11.2:
                hh = height_above_hairline(x, y, z, cut.lift, cut.recede)
                free = cut.frame * (1 - smoothstep(6.0, 10.5, y)) + 42.0 * smoothstep(6.0, 10.5, y)
                if style == 2:
                    free = 64.0
                now = math.atan2(abs(x), z + 0.5) * DEGREES
                if hh < 0 and now < free:
                    rho = math.sqrt(x * x + (z + 0.5) ** 2)
                    sg = 1.0 if x > 0 else -1.0
                    moved = now + (free - now) * 0.8
                    x = sg * rho * math.sin(moved / DEGREES)
                    z = rho * math.cos(moved / DEGREES) - 0.5
            points[i, k, 0] = x
            points[i, k, 1] = y
            points[i, k, 2] = z
            count += 1
            if y < end and grown > 0.5:
                break
        counts[i] = count


@njit(**JIT)
def _clump(clumps, style, points, counts, kinds):
    """Draw each strand toward the guide strand of its clump."""
    for i in range(points.shape[0]):
        g = clumps[i]
        if counts[i] < 3 or style == 1:
            continue
        m = counts[i]
        for k in range(1, m):
            t = k / (m - 1.0)
            if counts[g] >= m and kinds[g] == kinds[i] and g != i:
                cw = 0.45 * t * (1.0 if style >= 3 else 0.8)
                for a in range(3):
                    points[i, k, a] = points[i, k, a] * (1 - cw) + cw * (
                        points[g, k, a] + (points[i, 0, a] - points[g, 0, a]) * 0.35
                    )


@njit(**JIT)
def _wave(random, clumps, cut, points, counts, kinds):
    """Wind each strand along its length."""
    style = int(cut.style)
    for i in range(points.shape[0]):
        if counts[i] < 3 or style == 1:
            continue
        g = clumps[i]
        start = random[g, 3] * 6.28 + cut.phase
        height = cut.wave_height
        L = 0.0
        if kinds[i] == 1:
            height *= 0.5
        if style == 2:
            height *= 0.6
        for k in range(1, counts[i]):
            tx = points[i, k, 0] - points[i, k - 1, 0]
            ty = points[i, k, 1] - points[i, k - 1, 1]
            tz = points[i, k, 2] - points[i, k - 1, 2]
            L += math.sqrt(tx * tx + ty * ty + tz * tz)
            am = height * min(1.0, L / 3.0)
            qx = points[i, k, 0] - CX
            qz = points[i, k, 2] - CZ
            ql = math.sqrt(qx * qx + qz * qz) + 1e-6
            sx = qz / ql  # horizontally along the head
            sz = -qx / ql
            w1 = math.sin(L * cut.wave_count + start)
            w2 = math.cos(L * cut.wave_count + start)
            points[i, k, 0] += am * (w1 * sx + (0.3 + 0.5 * w2) * qx / ql)
            points[i, k, 2] += am * (w1 * sz + (0.3 + 0.5 * w2) * qz / ql)
            points[i, k, 1] += am * w1 * 0.15


@njit(**JIT)
def _displace(points, counts, spheremap):
    """Move strands of the mean head with the identity's surface under them."""
    for i in range(points.shape[0]):
        for k in range(counts[i]):
            a, b, c, _ = look_up(spheremap, points[i, k, 0] - CX, points[i, k, 1] - CY, points[i, k, 2] - CZ)
            points[i, k, 0] += a
            points[i, k, 1] += b
            points[i, k, 2] += c
