"""A small trained network and held-out real images that ship with the package.

:mod:`distverify.demo.train` made both, and names the source and licence of the images.
"""

from pathlib import Path

MODEL = Path(__file__).with_name("digits.onnx")
DATA = Path(__file__).with_name("digits.npz")
