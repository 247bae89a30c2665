"""ONNX Runtime: a model in onnx's text form, its session, and a function of NumPy arrays that runs it."""

from __future__ import annotations

from dataclasses import dataclass, field

from backends.onnx_graphs import OPSET, PROVIDERS
from backends.snippet_words import Words, function

_IR = 12
"""Version of the file format."""
_SWAPPED = "Transpose <perm = [0, 2, 1, 3]>"
_TYPES = {"float64": "double", "float32": "float", "float16": "float16"}
_FLOAT = 1
"""float32, as onnx counts types."""


@dataclass(slots=True)
class _Model:
    words: Words
    nodes: list[str]
    inputs: list[str] = field(default_factory=list)
    """Beside query, key and value."""
    body: list[str] = field(default_factory=list)
    """Lines that make them."""
    feeds: list[str] = field(default_factory=list)

    def add(self, name: str, type_: str, shape: str, *lines: str) -> None:
        """One more input, and the lines that make it."""
        self.inputs.append(f"{type_}[{shape}] {name}")
        self.body += lines
        self.feeds.append(name)

    def lines(self) -> list[str]:
        """All of the snippet."""
        s, type_ = self.words.shape, _TYPES[self.words.dtype]
        arrays = [("query", s.T, s.N, s.H), ("key", s.S, s.K, s.H), ("value", s.S, s.K, s.V)]
        inputs = [f"{type_}[{s.B}, {length}, {heads}, {size}] {name}" for name, length, heads, size in arrays]
        feeds = ", ".join(f'"{name}": {name}' for name in ("query", "key", "value", *self.feeds))
        return [
            *(["import numpy as np"] if any("np." in line for line in self.body) else []),
            "import onnx",
            "import onnxruntime",
            "",
            'MODEL = """',
            f'<ir_version: {_IR}, opset_import: ["": {OPSET}]>',
            "attention (",
            ",\n".join(f"  {line}" for line in (*inputs, *self.inputs)),
            f") => ({type_}[{s.B}, {s.T}, {s.N}, {s.V}] output) {{",
            *(f"  {node}" for node in self.nodes),
            '}"""',
            "model = onnx.parser.parse_model(MODEL).SerializeToString()",
            f'session = onnxruntime.InferenceSession(model, providers=["{PROVIDERS[0]}"])',
            "",
            "",
            *function(self.words, [*self.body, f"return session.run(None, {{{feeds}}})[0]"]),
        ]


def attention(words: Words) -> list[str]:
    """The operator Attention."""
    s, semantics = words.shape, words.semantics
    model = _Model(words, [])
    hides = words.merged or next((name for name in words.arrays if name in ("mask", "bias")), "")
    lengths = not words.merged and (semantics.causal == "bottom_right" or "kv_lengths" in words.arrays)
    if hides:
        made = _merged(words) if words.merged else []
        whole = f"hides = np.broadcast_to({hides}, (*np.shape({hides})[:-2], {s.T}, {s.S}))"
        four = "hides = hides.reshape((1,) * (4 - hides.ndim) + hides.shape)"
        model.add(
            "hides", "bool" if hides == "mask" else _TYPES[words.dtype], f"b, n, {s.T}, {s.S}", *made, whole, four
        )
    if lengths:  # beside them causal is bottom-right: to the operator the keys then are a cache
        told = "kv_lengths.astype(np.int64)" if "kv_lengths" in words.arrays else f"np.full({s.B}, {s.S})"
        model.add("lengths", "int64", f"{s.B}", f"lengths = {told}")
    given = {"scale": semantics.scale, "softcap": semantics.softcap}
    attributes = [f"{name} = {number!r}" for name, number in given.items() if number is not None]
    attributes += ["is_causal = 1"] if semantics.causal is not None and not words.merged else []
    told = f" <{', '.join(attributes)}>" if attributes else ""
    names = [
        "q",
        "k",
        "v",
        *(["hides"] if hides else [""] if lengths else []),
        *(["", "", "lengths"] if lengths else []),
    ]
    model.nodes = [
        f"q = {_SWAPPED} (query)",
        f"k = {_SWAPPED} (key)",
        f"v = {_SWAPPED} (value)",
        f"out = Attention{told} ({', '.join(names)})",
        f"output = {_SWAPPED} (out)",
    ]
    return model.lines()


def _merged(words: Words) -> list[str]:
    """Lines that make the mask, or the bias, which holds all that hides."""
    lines = [f"T, S = {words.shape.T}, {words.shape.S}", *words.seen("np.arange({})", four=False)]
    if words.merged == "mask":
        return [*lines, "mask = seen"]
    start = "bias" if "bias" in words.arrays else "0"
    return [*lines, f"bias = np.where(seen, {start}, -np.inf).astype(query.dtype)"]


def naive(words: Words) -> list[str]:
    """MatMul, Softmax, MatMul; what hides keys is one mask, made in NumPy."""
    s, semantics, half = words.shape, words.semantics, words.dtype == "float16"
    type_ = "float" if half else _TYPES[words.dtype]
    model = _Model(words, [])
    nodes = [f"{name[0]}{'_half' if half else ''} = {_SWAPPED} ({name})" for name in ("query", "key", "value")]
    nodes += [f"{name} = Cast <to = {_FLOAT}> ({name}_half)" for name in "qkv"] if half else []
    query = "q"
    if words.grouped:  # the queries that share a head become rows of one matrix
        nodes += [
            f"row_shape = Constant <value_ints = [{s.B}, {s.K}, {s.N // s.K * s.T}, -1]> ()",
            f"score_shape = Constant <value_ints = [{s.B}, {s.N}, {s.T}, -1]> ()",
            "rows = Reshape (q, row_shape)",
        ]
        query = "rows"
    scale = s.H**-0.5 if semantics.scale is None else semantics.scale
    nodes += [
        "k_transposed = Transpose <perm = [0, 1, 3, 2]> (k)",
        f"products = MatMul ({query}, k_transposed)",
        f"scale = Constant <value = {type_} {{{scale!r}}}> ()",
        "scaled = Mul (products, scale)",
    ]
    last = "scaled"
    if words.grouped:
        nodes.append(f"of_heads = Reshape ({last}, score_shape)")
        last = "of_heads"
    if semantics.softcap is not None:
        nodes += [
            f"cap = Constant <value = {type_} {{{semantics.softcap!r}}}> ()",
            f"divided = Div ({last}, cap)",
            "bent = Tanh (divided)",
            "capped = Mul (bent, cap)",
        ]
        last = "capped"
    if "bias" in words.arrays:
        model.add("bias", _TYPES[words.dtype], "b, n, t, s", "bias = bias.reshape((1,) * (4 - bias.ndim) + bias.shape)")
        nodes += [f"wide_bias = Cast <to = {_FLOAT}> (bias)"] if half else []
        nodes.append(f"biased = Add ({last}, {'wide_bias' if half else 'bias'})")
        last = "biased"
    if words.rules:
        seen = [f"T, S = {s.T}, {s.S}", *words.seen("np.arange({})", four=False)]
        four = "seen = seen.reshape((1,) * (4 - seen.ndim) + seen.shape)"
        model.add("seen", "bool", "mb, mn, mt, ms", *seen, four)
        nodes += [f"nothing = Constant <value = {type_} {{-inf}}> ()", f"hidden = Where (seen, {last}, nothing)"]
        last = "hidden"
    nodes.append(f"weights = Softmax <axis = -1> ({last})")
    if words.grouped:
        nodes.append("weight_rows = Reshape (weights, row_shape)")
    nodes.append(f"out = MatMul ({'weight_rows' if words.grouped else 'weights'}, v)")
    last = "out"
    if words.grouped:
        nodes.append("out_heads = Reshape (out, score_shape)")
        last = "out_heads"
    if words.rules and words.may_be_blind:
        model.add("sees", "bool", "rb, rn, rt, 1", "sees = seen.any(-1, keepdims=True)  # where not, the output is 0")
        nodes += [f"zero = Constant <value = {type_} {{0.0}}> ()", f"whole = Where (sees, {last}, zero)"]
        last = "whole"
    if half:
        nodes.append(f"narrow = Cast <to = 10> ({last})")
        last = "narrow"
    nodes.append(f"output = {_SWAPPED} ({last})")
    model.nodes = nodes
    return model.lines()
