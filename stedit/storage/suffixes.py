"""How files of images and of latent codes end, by which a folder is searched and a label finds its picture."""

HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})  # which the extra `heic` reads
# A file that is named outright may be called anything.
IMAGE_SUFFIXES = HEIC_SUFFIXES | frozenset(
    {
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jfif",
        ".webp",
        ".avif",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
    }
)

CODE_SUFFIXES = frozenset({".npz", ".npy", ".pt", ".pth", ".safetensors"})
# Ours end in .latent.safetensors; a folder is searched for the others but the last, which may be anything.
