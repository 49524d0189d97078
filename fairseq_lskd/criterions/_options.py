"""The options that the criterions share. `_checks` checks them."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from ..losses import DIVERGENCES, HIDDEN, RESTS, SCHEDULES
from ..teachers.online import DTYPES
from ._selection import CRITERIA, SELECTIONS

#: The value of `--teacher-path` that loads no teacher: for validating a student whose teacher no longer exists.
NO_TEACHER = "none"
WITHOUT_TEACHER = f"{{'teacher_path': '{NO_TEACHER}'}}"
SMOOTHING_PRIORS = ChoiceEnum(["uniform", "unigram"])
LOSS_FORMS = ChoiceEnum(["auto", "fused", "plain"])
KD_DIVERGENCES = ChoiceEnum(list(DIVERGENCES))
KD_RESTS = ChoiceEnum(list(RESTS))
KD_SCHEDULES = ChoiceEnum(["constant", *SCHEDULES])
TEACHER_DTYPES = ChoiceEnum(["student", *DTYPES])
KD_SELECTIONS = ChoiceEnum(["all", *SELECTIONS])
KD_CRITERIA = ChoiceEnum(list(CRITERIA))
KD_HIDDEN = ChoiceEnum(["none", *HIDDEN])
KD_SIDES = ChoiceEnum(["high", "low"])


@dataclass
class SmoothingConfig(FairseqDataclass):
    label_smoothing: float = field(
        default=0.1,
        metadata={"help": "label smoothing alpha, in [0, 1): probability moved from the label to the smoothing prior"},
    )
    smoothing_prior: SMOOTHING_PRIORS = field(  # type: ignore[valid-type]  # an enum that fairseq makes at run time
        default="uniform",
        metadata={
            "help": "distribution that label smoothing mixes in. uniform: alpha / (K - 1) for each of the other K - 1 "
            "types, as in fairseq; unigram: alpha times the relative frequency of each type in the training target"
        },
    )
    ignore_prefix_size: int = field(
        default=0, metadata={"help": "leave the first N target tokens (a language tag, for example) out of the loss"}
    )
    loss_form: LOSS_FORMS = field(  # type: ignore[valid-type]
        default="auto",
        metadata={
            "help": "how the loss is computed. fused: projection, loss and gradient in chunks, without a [tokens x "
            "vocabulary] tensor; plain: on whole tensors, as in fairseq; auto: fused if the logits of student and "
            "teacher are hidden states times a matrix, else plain"
        },
    )
    sentence_avg: bool = II("optimization.sentence_avg")


@dataclass
class DistillationConfig(SmoothingConfig):
    teacher_path: Optional[str] = field(
        default=None,
        metadata={
            "help": "the teacher's checkpoint, or several joined by ':', whose distributions are averaged. A student "
            "of several language pairs may have a teacher for each: PAIR=PATH,PAIR=PATH (PAIR=none: no teacher for "
            "this pair). none: no teacher, for fairseq-validate --task translation --model-overrides "
            "\"{'teacher_path': 'none'}\" if the file no longer exists"
        },
    )
    teacher_weights: Optional[str] = field(
        default=None,
        metadata={
            "help": "weights of several teachers: numbers joined by ':' in the order of --teacher-path, or entropy, "
            "which weights a teacher at each token by 1 / perplexity of its distribution (default: equal weights)"
        },
    )
    teacher_data: Optional[str] = field(
        default=None,
        metadata={
            "help": "folder with the teacher's dict.*.txt, which must equal the student's "
            "(default: the checkpoint's folder, else the data folder recorded in the checkpoint)"
        },
    )
    teacher_dtype: TEACHER_DTYPES = field(  # type: ignore[valid-type]  # an enum that fairseq makes at run time
        default="student",
        metadata={
            "help": "dtype of the teacher of --teacher-path; student: the student's dtype. float16 and bfloat16 need "
            "half the memory of float32"
        },
    )
    teacher_process: Optional[str] = field(
        default=None,
        metadata={
            "help": "run the teacher of --teacher-path in a process of its own on this device, cpu or cuda:N, ahead of "
            "the student (default: in the student's process)"
        },
    )
    teacher_ahead: int = field(
        default=4, metadata={"help": "number of batches that --teacher-process computes before they are needed"}
    )
    teacher_cache: Optional[str] = field(
        default=None,
        metadata={
            "help": "folder that `lskd cache` wrote for this training data, read in place of running a teacher. With "
            "--teacher-path too, it must be of those checkpoints. For a student of several language pairs "
            "PAIR=FOLDER,PAIR=FOLDER. Validation leaves the teacher's term out"
        },
    )
    kd_weight: float = field(
        default=0.5,
        metadata={"help": "weight w of the teacher's term of the loss, in [0, 1]; the label's term has weight 1 - w"},
    )
    kd_threshold: Optional[float] = field(
        default=None,
        metadata={
            "help": "with a teacher for each language pair: a pair has no distillation while the student's accuracy in "
            "the last validation is at least this many percentage points above the teacher's (Tan et al., 2019; "
            "default: always distillation). Switching to or from this in a resumed run needs --reset-optimizer"
        },
    )
    kd_temperature: float = field(
        default=1.0, metadata={"help": "temperature T > 0 of both distributions in the teacher's term of the loss"}
    )
    kd_schedule: KD_SCHEDULES = field(  # type: ignore[valid-type]
        default="constant",
        metadata={
            "help": "shape of the change from --kd-weight to --kd-weight-end, and from --kd-temperature to "
            "--kd-temperature-end, over the first --kd-schedule-updates updates; validation uses the end values"
        },
    )
    kd_schedule_updates: Optional[int] = field(
        default=None, metadata={"help": "length of --kd-schedule in updates, at most --max-update"}
    )
    kd_weight_end: Optional[float] = field(
        default=None, metadata={"help": "value of --kd-weight at the end of --kd-schedule (default: no change)"}
    )
    kd_temperature_end: Optional[float] = field(
        default=None, metadata={"help": "value of --kd-temperature at the end of --kd-schedule (default: no change)"}
    )
    kd_divergence: KD_DIVERGENCES = field(  # type: ignore[valid-type]  # an enum that fairseq makes at run time
        default="forward_kl",
        metadata={"help": "divergence between the teacher's and the student's distribution at each target token"},
    )
    kd_beta: float = field(
        default=0.5, metadata={"help": "teacher's share of the mixture in --kd-divergence jensen_shannon, in (0, 1)"}
    )
    kd_skew: float = field(
        default=0.1,
        metadata={
            "help": "skew of --kd-divergence skewed_forward_kl (the teacher's share of the mixture that it is compared "
            "with) and skewed_reverse_kl (the student's share), in (0, 1)"
        },
    )
    kd_head: float = field(
        default=0.5, metadata={"help": "teacher's probability of the head in --kd-divergence adaptive_kl, in (0, 1)"}
    )
    kd_alpha: float = field(
        default=0.5, metadata={"help": "alpha of --kd-divergence alpha_divergence, in (0, 1); near 1 it is forward KL"}
    )
    kd_top_k: Optional[int] = field(
        default=None,
        metadata={"help": "compare only the teacher's K most probable types (default: all, or all that a cache has)"},
    )
    kd_rest: KD_RESTS = field(  # type: ignore[valid-type]
        default="class",
        metadata={
            "help": "what happens to the probability outside of the top K. class: all other types become one class, "
            "and the loss is a lower bound of the full divergence; renormalise: the K types get it"
        },
    )
    kd_hidden: KD_HIDDEN = field(  # type: ignore[valid-type]
        default="none",
        metadata={
            "help": "add the distance between the teacher's last hidden states and the student's, mapped by a learned "
            "matrix. cosine: 1 - cosine; mse: mean squared difference. The checkpoint has the matrix, the student does "
            "not. Switching this on or off in a resumed run needs --reset-optimizer"
        },
    )
    kd_hidden_weight: float = field(
        default=1.0, metadata={"help": "weight of the term that --kd-hidden adds to the loss, above 0"}
    )
    kd_ranking: int = field(
        default=0,
        metadata={
            "help": "add the ranking loss of TIE-KD (Zhang et al., 2023; they use 5) over the top N types; 0: none"
        },
    )
    kd_iterations: int = field(
        default=1,
        metadata={
            "help": "average the teacher's term over N passes; from the second pass on, the decoder reads the "
            "student's predictions of the previous pass (TIE-KD: Zhang et al., 2023; they use 3)"
        },
    )
    kd_select: KD_SELECTIONS = field(  # type: ignore[valid-type]
        default="all",
        metadata={
            "help": "tokens that have the teacher's term (selective distillation: Wang et al., 2021). all: every "
            "token; batch: the hardest of the batch; global: those that are hard in comparison with the last batches. "
            "Switching to or from global in a resumed run needs --reset-optimizer"
        },
    )
    kd_select_by: KD_CRITERIA = field(  # type: ignore[valid-type]
        default="word_ce",
        metadata={
            "help": "value by which --kd-select batch and global rank tokens. word_ce: the student's cross-entropy "
            "with the label; sentence_ce: its mean over the sentence; word_norm: norm of the label's embedding; "
            "frequency: the label's count in the training target; length: target tokens in the sentence; "
            "teacher_entropy: the teacher's entropy; teacher_golden: the teacher's probability of the label"
        },
    )
    kd_select_side: KD_SIDES = field(  # type: ignore[valid-type]
        default="high", metadata={"help": "whether --kd-select takes high or low values of --kd-select-by"}
    )
    kd_select_share: float = field(
        default=0.5, metadata={"help": "share of tokens that --kd-select batch and global take, in (0, 1]"}
    )
    kd_queue_size: int = field(
        default=30_000, metadata={"help": "tokens in the queue of --kd-select global, which checkpoints store"}
    )
