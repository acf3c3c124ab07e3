"""The competition's facts, once: Kaggle's Generative Dog Images of 2019."""

SLUG = "generative-dog-images"
RULES_URL = f"https://www.kaggle.com/competitions/{SLUG}/rules"

SIDE_PX = 64  # of an image of the entry, RGB, and of the reference
IMAGES = 10_000  # in an entry: PNG files at the root of one zip
ENTRY = "images.zip"

# The organisers' Inception as a data set of Kaggle's; competitors of 2019 scored with it.
JUDGE_DATASET = "wendykan/dog-face-generation-competition-kid-metric-input"
JUDGE_GRAPH = "classify_image_graph_def.pb"

# The public board's reference is every photo, its whole frame squashed. Stanford's download has one
# photo more.
PHOTOS = 20_579
REFERENCE_PHOTOS = (PHOTOS, PHOTOS + 1)

# Where photos and annotations lie: Kaggle's folders, and those of Stanford's download. Below either
# an annotation is <wnid-breed>/<photo id>, and a photo <photo id>.jpg.
KAGGLE_FOLDERS = ("all-dogs", "annotation")
STANFORD_FOLDERS = ("Images", "Annotation")
ANNOTATION_FOLDER = "annotation"  # of both, in lower case
