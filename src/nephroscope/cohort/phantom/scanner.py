"""What a scanner makes of an abdomen: blur of the kernel and correlated noise, both shaped in frequency space."""

import numpy as np
import numpy.typing as npt

from nephroscope.cohort.phantom.canvas import Floats


def scan(
    hu: Floats, pixel_mm: float, cutoff_per_mm: float, noise_hu: float, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """The image of an ideal abdomen, in place of a reconstruction.

    Args:
        hu: Ideal attenuation, (S, R, C).
        pixel_mm: Spacing of rows and columns.
        cutoff_per_mm: Frequency at which the kernel's transfer falls to 1/e, cycles/mm.
        noise_hu: Standard deviation of the noise.
        rng: Source of chance.

    Returns:
        HU as int16 (S, R, C), not below -1024.

    Source:
        Filtered back projection's noise power rises with frequency and falls with the square of the
        kernel's transfer (Riederer, Pelc, Chesler. Phys Med Biol 1978;23:446).
    """
    n_rows, n_columns = hu.shape[1:]
    frequency = np.hypot(
        np.fft.fftfreq(n_rows, pixel_mm)[:, None], np.fft.rfftfreq(n_columns, pixel_mm)[None, :]
    )
    transfer = np.exp(-np.square(frequency / cutoff_per_mm)).astype(np.float32)
    # The lowest frequencies keep some power, as beam hardening and scatter leave in real scans.
    ramp = np.sqrt(frequency + 0.02 * frequency.max()).astype(np.float32)
    full = np.hypot(np.fft.fftfreq(n_rows, pixel_mm)[:, None], np.fft.fftfreq(n_columns, pixel_mm)[None, :])
    power = (full + 0.02 * frequency.max()) * np.exp(-2 * np.square(full / cutoff_per_mm))
    gain = np.float32(noise_hu / np.sqrt(power.mean()))
    scanned = np.empty(hu.shape, np.int16)
    for s, ideal in enumerate(hu):
        white = rng.standard_normal(ideal.shape, dtype=np.float32)
        spectrum = (np.fft.rfft2(ideal) + gain * ramp * np.fft.rfft2(white)) * transfer
        image = np.fft.irfft2(spectrum, s=ideal.shape)
        scanned[s] = np.clip(np.rint(image), -1024, 3071)
    return scanned
