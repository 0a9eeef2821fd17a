"""Checkpoints of other projects -> the parts of a bundle, recognised by their tensors' names, sized by their shapes.

load_file(path)         a safe reader of every container, which executes nothing           reader.py, unpickler.py
convert(checkpoint)
    candidates          the dictionaries of tensors in it, `G_ema` or `g_ema` first        search.py, nvidia.py
    recognise           the first of FORMATS whose key tensors are all there
    build               deduce the config, rename the tensors, compute what is missing     one file for each format
merge(sources)    parts of several files and models -> one model, if they fit        merge.py
"""
