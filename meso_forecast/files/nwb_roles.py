"""What is a series of ROI responses in an NWB file: fluorescence, neuropil, dF/F, ...? By the words of its names, else of its description."""

from __future__ import annotations

import re

CHANNEL_2 = re.compile(r"ch(an|annel)?_?2(?!\d)|(^|[^a-z])red([^a-z]|$)|tdtomato|mcherry|structural")
#: words in the names of series and containers, by role; the first role with a word there counts
ROLES = (
    ("background", ("background",)),
    ("corrected", ("corrected", "demix", "subtracted")),  # before neuropil: it is what was subtracted
    ("neuropil", ("neuropil", "fneu", "npil", "surround")),
    ("deconvolved", ("deconv", "spks", "spike", "event", "foopsi", "firing", "inferred", "oasis")),
    ("dff", ("dfoverf", "df_over_f", "dff", "deltaf", "delta_f", "df_f")),
    ("denoised", ("denois",)),
    ("baseline", ("baseline",)),
    ("normalised", ("zscore", "z_score", "z-score", "normalised", "normalized")),
    ("residual", ("residual",)),
    ("corrected", ("fissa", "decontamin")),  # FISSA's dF/F, neuropil, ... are told before
)
SAID = (  #: what a description or unit says, where the names say nothing; "raw" and "before" take it back
    ("corrected", re.compile(r"neuropil[ -]?(corrected|subtracted|removed)|(corrected|correction) for neuropil|f ?- ?0?\.\d+ ?\*? ?f?neu")),
    ("dff", re.compile(r"\bd_?f ?/ ?f|[δΔ]f ?/ ?f|\bdff\b|\bdelta[ _-]?f ?/|df[ _]over[ _]f|dfoverf")),
    ("deconvolved", re.compile(r"deconvol|inferred spik|spike (inference|probabilit)|\boasis\b")),
    ("denoised", re.compile(r"\bdenoised")),
    ("normalised", re.compile(r"\bz-?scored?\b")),
)  # fmt: skip
NOT_YET = re.compile(
    r"\braw\b|\bbefore\b|\bunprocessed\b|\buncorrected\b|\bnot\b|\bto (be|compute|calculate)\b|\bfrom which\b"
)
FISSA_RAW = re.compile("(^|[^a-z])raw([^a-z]|$)")  #: what FISSA was given
WHOLE = {  #: names without such a word
    "baseline": re.compile("(roi_)?f_?0(_?traces?)?"), "dff": re.compile("df|delta_?f|f(_?minus_?|-)f_?0"),
    "neuropil": re.compile("(f_?)?np(_?f)?(_?traces?)?(_?(raw|smooth(ed)?|filtered))?"),
}  # fmt: skip


def role_of(name: str) -> tuple[str, int]:
    """Return (role, channel) by the words in the names of a series and of its container.

    >>> role_of("processing/ophys/Fluorescence_chan2/plane0"), role_of("processing/ophys/DfOverF/RoiResponseSeries")
    (('fluorescence', 2), ('dff', 1))
    """
    words = [part.lower() for part in name.split("/")[-2:]]
    channel = 2 if CHANNEL_2.search("/".join(words)) else 1
    for part in reversed(words):  # the series itself says more than its container
        for role, whole in WHOLE.items():
            if whole.fullmatch(part):
                return role, channel
        for role, known in ROLES:
            if any(word in part for word in known):
                before = "fissa" in part and role == "corrected" and FISSA_RAW.search("/".join(words))
                return "fluorescence" if before else role, channel
    return "fluorescence", channel


def role_said(said: str) -> str:
    """Return the role that a description and a unit say, "fluorescence" where they say none.

    >>> role_said("dF/F of each ROI a.u."), role_said("raw traces, before dF/F a.u."), role_said("neuropil-corrected")
    ('dff', 'fluorescence', 'corrected')
    """
    text = said.lower()
    return next((r for r, words in SAID if words.search(text) and not NOT_YET.search(text)), "fluorescence")
