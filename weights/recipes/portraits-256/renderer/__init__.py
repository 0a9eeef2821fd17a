"""A renderer of portraits whose every attribute is known: the source of all renders that portraits-256 learns from.

A picture is a pure function of about two hundred numbers, each about N(0, 1):

    parameters.py   what the numbers are called, how they are drawn, which of them are choices
    head.py         geometry: ICT-FaceKit's mean head, identities and expressions, from facekit.npz
    identity.py     measured and stretched identities      regions.py    lips, cheeks, lids, beard zones of the mesh
    expression.py   parameters -> blend shape weights       colours.py    skin, hair, iris, frames, cloth
    mesh.py         tubes, sheets, and meshes joined        clothes.py  hat.py  glasses.py
    camera.py       head pose and the crop of FFHQ          labels.py     CelebA attributes and measured quantities
    rasteriser.py   z-buffers                               lights.py     lamps, shadow maps, highlights
    skin.py  shading.py   colour of each point of a surface
    scalp.py  hair.py  facial_hair.py  strands.py    strands: where they grow, how they fall, how they are drawn
    backdrop.py     background, lenses, tone                 scenery.py    what is behind a person in a wide picture
    portrait.py     Renderer, which puts all of it together      pictures.py    many pictures, into zip files

Lengths are centimetres in the head's own frame: x to the right of the picture, y up, z toward the camera, the origin
between the ears. Colours are linear RGB until the last step. Needs numpy, numba, scipy and Pillow.

Geometry: ICT-FaceKit, MIT License, Copyright (c) 2020 USC Institute for Creative Technologies (see
LICENSE-ICT-FaceKit.txt beside this folder); Li et al., "Learning Formation of Physically-Based Face Attributes",
CVPR 2020. All else is procedural.
"""
