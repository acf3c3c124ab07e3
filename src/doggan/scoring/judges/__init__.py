"""The judges: networks that look at images. This package is light, for help texts list its names.

To add a judge: its module and a line in JUDGES. The module has two functions:

find_weights(own=None)   the file of its weights, `own` where the user gave one;
                         raises DogganError where there is none to be had
load(weights, *, device, precision, missing)
                         the Judge; `missing` says for its notice why the judge before it in
                         the table could not be had, "" where nothing is amiss

and, where `find_weights` downloads a published file,

are_weights(path)        whether this file is it, or another that holds the same: a kernel, which
                         has no network, looks for one among what is attached
"""

# Name -> module. `auto` is the first whose weights can be had.
JUDGES = {
    "inception": "doggan.scoring.judges.inception",
    "efficientnet-lite0": "doggan.scoring.judges.efficientnet",
}
PRECISIONS = ("auto", "fp32", "bf16")
