"""The digital phantom of IBSI 1: our features of its voxels next to the published consensus values.

Source: Zwanenburg et al. 2020, Radiology 295:328; IBSI reference manual, arXiv 1612.07003, chapter "Reference data
sets"; phantom and table of reference values by theibsi (CC BY 4.0). Values with the digits that the table prints.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.learning.baselines.radiomics.extract import PHANTOM_2D, PHANTOM_3D, features_of

SPACING_MM = (2.0, 2.0, 2.0)
LEVELS = """
14411 14611 41641 44641
14411 11611 11311 44611
14411 11111 11911 11611
14411 11111 11111 11611
"""
MORPHOLOGY = """
volume 556 vol_approx 592 area_mesh 388 av 0.698 comp_1 0.0411 comp_2 0.599 sph_dispr 1.19 sphericity 0.843
asphericity 0.186 com 0.672 diam 13.1 pca_maj_axis 11.4 pca_min_axis 9.31 pca_least_axis 8.54
pca_elongation 0.816 pca_flatness 0.749 vol_dens_aabb 0.869 area_dens_aabb 0.866 vol_dens_aee 1.17
area_dens_aee 1.36 vol_dens_conv_hull 0.961 area_dens_conv_hull 1.03 integ_int 1.20e3 moran_i 0.0397 geary_c 0.974
"""
STATISTICS = """
mean 2.15 var 3.05 skew 1.08 kurt -0.355 median 1 min 1 p10 1 p90 4 max 6 iqr 3 range 5 mad 1.55 rmad 1.11
medad 1.15 cov 0.812 qcod 0.6 energy 567 rms 2.77
"""
HISTOGRAM = """
mean 2.15 var 3.05 skew 1.08 kurt -0.355 median 1 min 1 p10 1 p90 4 max 6 mode 1 iqr 3 range 5 mad 1.55
rmad 1.11 medad 1.15 cov 0.812 qcod 0.6 entropy 1.27 uniformity 0.512 max_grad 8 max_grad_g 3 min_grad -50
min_grad_g 1
"""
GLCM_3D = """
joint_max 0.509 joint_avg 2.15 joint_var 3.13 joint_entr 2.57 diff_avg 1.38 diff_var 3.21 diff_entr 1.64
sum_avg 4.3 sum_var 7.41 sum_entr 2.11 energy 0.291 contrast 5.12 dissimilarity 1.38 inv_diff 0.688
inv_diff_norm 0.856 inv_diff_mom 0.631 inv_diff_mom_norm 0.902 inv_var 0.0574 corr 0.183 auto_corr 5.19
clust_tend 7.41 clust_shade 17.4 clust_prom 147 info_corr1 -0.0288 info_corr2 0.269
"""
GLCM_2D = """
joint_max 0.512 joint_avg 2.14 joint_var 2.71 joint_entr 2.24 diff_avg 1.4 diff_var 3.06 diff_entr 1.49
sum_avg 4.29 sum_var 5.66 sum_entr 1.79 energy 0.352 contrast 5.19 dissimilarity 1.4 inv_diff 0.683
inv_diff_norm 0.854 inv_diff_mom 0.625 inv_diff_mom_norm 0.901 inv_var 0.0553 corr 0.0173 auto_corr 5.14
clust_tend 5.66 clust_shade 6.98 clust_prom 80.4 info_corr1 -0.0341 info_corr2 0.263
"""
GLRLM_3D = """
sre 0.729 lre 2.76 lgre 0.607 hgre 9.64 srlge 0.372 srhge 8.67 lrlge 2.16 lrhge 15.6 glnu 281 glnu_norm 0.43
rlnu 328 rlnu_norm 0.501 r_perc 0.68 gl_var 3.48 rl_var 0.598 rl_entr 2.62
"""
GLRLM_2D = """
sre 0.661 lre 3.51 lgre 0.609 hgre 9.74 srlge 0.311 srhge 8.67 lrlge 2.92 lrhge 16.1 glnu 20.5 glnu_norm 0.456
rlnu 21.6 rlnu_norm 0.441 r_perc 0.627 gl_var 3.37 rl_var 0.778 rl_entr 2.57
"""
GLSZM_3D = """
sze 0.255 lze 550 lgze 0.253 hgze 15.6 szlge 0.0256 szhge 2.76 lzlge 503 lzhge 1.49e3 glnu 1.4 glnu_norm 0.28
zsnu 1 zsnu_norm 0.2 z_perc 0.0676 gl_var 2.64 zs_var 331 zs_entr 2.32
"""
GLSZM_2D = """
sze 0.363 lze 43.9 lgze 0.371 hgze 16.4 szlge 0.0259 szhge 10.3 lzlge 40.4 lzhge 113 glnu 1.41 glnu_norm 0.323
zsnu 1.49 zsnu_norm 0.333 z_perc 0.24 gl_var 3.97 zs_var 21 zs_entr 1.93
"""
GLDZM_3D = """
sde 1 lde 1 lgze 0.253 hgze 15.6 sdlge 0.253 sdhge 15.6 ldlge 0.253 ldhge 15.6 glnu 1.4 glnu_norm 0.28 zdnu 5
zdnu_norm 1 z_perc 0.0676 gl_var 2.64 zd_var 0 zd_entr 1.92
"""
GLDZM_2D = """
sde 0.946 lde 1.21 lgze 0.371 hgze 16.4 sdlge 0.367 sdhge 15.2 ldlge 0.386 ldhge 21.3 glnu 1.41 glnu_norm 0.323
zdnu 3.79 zdnu_norm 0.898 z_perc 0.24 gl_var 3.97 zd_var 0.051 zd_entr 1.73
"""
NGTDM_3D = "coarseness 0.0296 contrast 0.584 busyness 6.54 complexity 13.5 strength 0.763"
NGTDM_2D = "coarseness 0.121 contrast 0.925 busyness 2.99 complexity 10.4 strength 2.88"
NGLDM_3D = """
lde 0.045 hde 109 lgce 0.693 hgce 7.66 ldlge 0.00963 ldhge 0.736 hdlge 102 hdhge 235 glnu 37.9 glnu_norm 0.512
dcnu 4.86 dcnu_norm 0.0657 dc_perc 1 gl_var 3.05 dc_var 22.1 dc_entr 4.4 dc_energy 0.0533
"""
NGLDM_2D = """
lde 0.158 hde 19.2 lgce 0.702 hgce 7.49 ldlge 0.0473 ldhge 3.06 hdlge 17.6 hdhge 49.5 glnu 10.2 glnu_norm 0.562
dcnu 3.96 dcnu_norm 0.212 dc_perc 1 gl_var 2.7 dc_var 2.73 dc_entr 2.71 dc_energy 0.17
"""
FAMILIES = {
    "morphology": ("morph_{}", MORPHOLOGY),
    "statistics": ("stat_{}", STATISTICS),
    "intensity histogram": ("ih_{}", HISTOGRAM),
    "GLCM, 3D merged": ("cm_{}_d1_3d_v_mrg", GLCM_3D),
    "GLRLM, 3D merged": ("rlm_{}_3d_v_mrg", GLRLM_3D),
    "GLSZM, 3D": ("szm_{}_3d", GLSZM_3D),
    "GLDZM, 3D": ("dzm_{}_3d", GLDZM_3D),
    "NGTDM, 3D": ("ngt_{}_3d", NGTDM_3D),
    "NGLDM, 3D": ("ngl_{}_d1_a0.0_3d", NGLDM_3D),
    "GLCM, 2D slice-merged": ("cm_{}_d1_2d_s_mrg", GLCM_2D),
    "GLRLM, 2D slice-merged": ("rlm_{}_2d_s_mrg", GLRLM_2D),
    "GLSZM, 2D": ("szm_{}_2d", GLSZM_2D),
    "GLDZM, 2D": ("dzm_{}_2d", GLDZM_2D),
    "NGTDM, 2D": ("ngt_{}_2d", NGTDM_2D),
    "NGLDM, 2D": ("ngl_{}_d1_a0.0_2d", NGLDM_2D),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IbsiRow:
    """One feature of the phantom: ``published`` with its digits, ``ours`` in full or None."""

    family: str
    feature: str
    published: str
    ours: float | None

    @property
    def agrees(self) -> bool:
        """True when ours, rounded to the digits published, is the published value."""
        return self.ours is not None and abs(self.ours - float(self.published)) <= _half_digit(self.published)


def phantom() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Gray levels and ROI of the digital phantom, (4 slices, 4 rows, 5 columns), 2 mm apart; 74 voxels are in it."""
    digits = [int(digit) for digit in LEVELS if digit.isdigit()]
    levels = np.array(digits, dtype=np.float32).reshape(4, 4, 5)
    mask = np.ones(levels.shape, dtype=bool)
    mask[1, 2, 0] = mask[2, 2, 2] = False
    mask[2:, 0, 3:] = False
    return levels, mask


def compare_with_ibsi() -> list[IbsiRow]:
    """Every published value of the phantom next to what the extraction gives, in volume and by slice."""
    levels, mask = phantom()
    ours = features_of(levels, mask, SPACING_MM, PHANTOM_2D) | features_of(
        levels, mask, SPACING_MM, PHANTOM_3D
    )
    rows = []
    for family, (pattern, text) in FAMILIES.items():
        words = text.split()
        for feature, published in zip(words[::2], words[1::2], strict=True):
            name = pattern.format(feature)
            rows.append(IbsiRow(family=family, feature=name, published=published, ours=ours.get(name)))
    return rows


def _half_digit(published: str) -> float:
    """Half a unit of the last digit printed, and room for a value that lies on it."""
    mantissa, _, exponent = published.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 0.5000001 * 10.0 ** (int(exponent or 0) - decimals)
