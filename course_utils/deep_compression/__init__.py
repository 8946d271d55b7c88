"""Deep Compression: prune, share weights, train the shared ones, store positions as gaps, and Huffman's code.

`pruning` and `codebook` change a network that then trains as any other; `positions` and `huffman` are the integers of a
file, `accounting` counts its bits, `file` writes and reads it; `published_layout` does the same in the authors' own.
S. Han, H. Mao, W. Dally, ICLR 2016, arXiv:1510.00149. Stands on `low_bit` (its training) and `networks`.
"""

from course_utils.deep_compression.accounting import STAGES, Size, TensorSize, size
from course_utils.deep_compression.codebook import (
    INITIALISATIONS,
    Clusters,
    codebook_gradient,
    initial_centroids,
    kmeans,
    share,
)
from course_utils.deep_compression.file import FileError, compress, load
from course_utils.deep_compression.huffman import canonical_codes, code_lengths, decode, encode
from course_utils.deep_compression.positions import absolute_positions, relative_positions
from course_utils.deep_compression.pruning import magnitude_mask, prune, settle, weight_layers
from course_utils.deep_compression.published_layout import load_deep_compression, save_deep_compression, squeezenet

__all__ = [
    "INITIALISATIONS",
    "STAGES",
    "Clusters",
    "FileError",
    "Size",
    "TensorSize",
    "absolute_positions",
    "canonical_codes",
    "code_lengths",
    "codebook_gradient",
    "compress",
    "decode",
    "encode",
    "initial_centroids",
    "kmeans",
    "load",
    "load_deep_compression",
    "magnitude_mask",
    "prune",
    "relative_positions",
    "save_deep_compression",
    "settle",
    "share",
    "size",
    "squeezenet",
    "weight_layers",
]
