"""References of the methods' papers, in BibTeX."""

from collections.abc import Iterable
from dataclasses import dataclass

from cifar10_s.release.recipes import CONFIGURATIONS

_ICLR = "International Conference on Learning Representations"
_NEURIPS = "Advances in Neural Information Processing Systems"
_KDD = "ACM SIGKDD Conference on Knowledge Discovery and Data Mining"
_CVPR = "IEEE/CVF Conference on Computer Vision and Pattern Recognition"
_AAAI = "AAAI Conference on Artificial Intelligence"
_ICML = "International Conference on Machine Learning"
_NDSS = "Network and Distributed System Security Symposium"


@dataclass(frozen=True)
class Paper:
    """A paper in the proceedings of a conference.

    Attributes
    ----------
    key
        Its key in BibTeX.
    title
        Its title.
    authors
        Its authors, ``Surname, Name`` each, joined by ``and``.
    venue, year
        The conference and its year.
    """

    key: str
    title: str
    authors: str
    venue: str
    year: int

    def bibtex(self) -> str:
        """Return its reference.

        Examples
        --------
        >>> print(PAPERS["cuda"].bibtex(), end="")
        @inproceedings{sadasivan2023cuda,
          title     = {CUDA: Convolution-Based Unlearnable Datasets},
          author    = {Sadasivan, Vinu Sankar and Soltanolkotabi, Mahdi and Feizi, Soheil},
          booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
          year      = {2023}
        }
        """
        return (
            f"@inproceedings{{{self.key},\n"
            f"  title     = {{{self.title}}},\n"
            f"  author    = {{{self.authors}}},\n"
            f"  booktitle = {{{self.venue}}},\n"
            f"  year      = {{{self.year}}}\n"
            "}\n"
        )


_EM = Paper(
    "huang2021unlearnable",
    "Unlearnable Examples: Making Personal Data Unexploitable",
    "Huang, Hanxun and Ma, Xingjun and Erfani, Sarah Monazam and Bailey, James and Wang, Yisen",
    _ICLR,
    2021,
)
_TAP = Paper(
    "fowl2021adversarial",
    "Adversarial Examples Make Strong Poisons",
    "Fowl, Liam and Goldblum, Micah and Chiang, Ping-yeh and Geiping, Jonas and Czaja, Wojciech and Goldstein, Tom",
    _NEURIPS,
    2021,
)
# By the method's name. Uniform noise, a control, has no paper.
PAPERS = {
    "em": _EM,
    "em-classwise": _EM,
    "rem": Paper(
        "fu2022robust",
        "Robust Unlearnable Examples: Protecting Data Privacy Against Adversarial Learning",
        "Fu, Shaopeng and He, Fengxiang and Liu, Yang and Shen, Li and Tao, Dacheng",
        _ICLR,
        2022,
    ),
    "sem": Paper(
        "liu2024stable",
        "Stable Unlearnable Example: Enhancing the Robustness of Unlearnable Examples via Stable Error-Minimizing "
        "Noise",
        "Liu, Yixin and Xu, Kaidi and Chen, Xun and Sun, Lichao",
        _AAAI,
        2024,
    ),
    "aue": Paper(
        "wang2024efficient",
        "Efficient Availability Attacks against Supervised and Contrastive Learning Simultaneously",
        "Wang, Yihan and Zhu, Yifan and Gao, Xiao-Shan",
        _NEURIPS,
        2024,
    ),
    "pue": Paper(
        "wang2025provably",
        "Provably Unlearnable Data Examples",
        "Wang, Derui and Xue, Minhui and Li, Bo and Camtepe, Seyit and Zhu, Liming",
        _NDSS,
        2025,
    ),
    "tap": _TAP,
    "tap-untargeted": _TAP,
    "sep": Paper(
        "chen2023self",
        "Self-Ensemble Protection: Training Checkpoints Are Good Data Protectors",
        "Chen, Sizhe and Yuan, Geng and Cheng, Xinwen and Gong, Yifan and Qin, Minghai and Wang, Yanzhi and "
        "Huang, Xiaolin",
        _ICLR,
        2023,
    ),
    "hypo": Paper(
        "tao2021better",
        "Better Safe Than Sorry: Preventing Delusive Adversaries with Adversarial Training",
        "Tao, Lue and Feng, Lei and Yi, Jinfeng and Huang, Sheng-Jun and Chen, Songcan",
        _NEURIPS,
        2021,
    ),
    "dune": Paper(
        "wang2026dual",
        "Dual-branch Robust Unlearnable Examples",
        "Wang, Xianlong and Zhang, Hangtao and Pan, Wenbo and Zhou, Ziqi and Jiang, Changsong and Zeng, Li and "
        "Jia, Xiaohua",
        _ICML,
        2026,
    ),
    "pil": Paper(
        "liu2026perturbation",
        "Perturbation-Induced Linearization: Constructing Unlearnable Data with Solely Linear Classifiers",
        "Liu, Jinlin and Chen, Wei and Zhang, Xiaojin",
        _ICLR,
        2026,
    ),
    "lsp": Paper(
        "yu2022availability",
        "Availability Attacks Create Shortcuts",
        "Yu, Da and Zhang, Huishuai and Chen, Wei and Yin, Jian and Liu, Tie-Yan",
        _KDD,
        2022,
    ),
    "ar": Paper(
        "sandoval2022autoregressive",
        "Autoregressive Perturbations for Data Poisoning",
        "Sandoval-Segura, Pedro and Singla, Vasu and Geiping, Jonas and Goldblum, Micah and Goldstein, Tom and "
        "Jacobs, David W.",
        _NEURIPS,
        2022,
    ),
    "cuda": Paper(
        "sadasivan2023cuda",
        "CUDA: Convolution-Based Unlearnable Datasets",
        "Sadasivan, Vinu Sankar and Soltanolkotabi, Mahdi and Feizi, Soheil",
        _CVPR,
        2023,
    ),
}


def cite_methods(configurations: Iterable[str]) -> str:
    """Return the references of the papers of these configurations' methods, each once, in BibTeX.

    Users' own methods are left out.
    """
    methods = (CONFIGURATIONS[name].method for name in configurations if name in CONFIGURATIONS)
    papers = dict.fromkeys(PAPERS[method.name] for method in methods if method and method.name in PAPERS)
    return "".join(paper.bibtex() for paper in papers)
