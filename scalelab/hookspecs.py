"""The whole extension surface: six hooks, each returning frozen descriptors.

A plugin is a module that implements one or more of these functions, marked with `scalelab.hookimpl` and
named by an entry point of the group `scalelab`, or one file in a folder given as `--plugins-dir`. A hook
takes no arguments, returns a list, and is called once each time plugins are loaded, so it must be cheap.
The examples are whole: each is a plugin that loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

from scalelab.components import Architecture, Backend, Dataset, Optimizer

if TYPE_CHECKING:
    from scalelab.law import Law
    from scalelab.trainers import Trainer

hookspec = pluggy.HookspecMarker("scalelab")
hookimpl = pluggy.HookimplMarker("scalelab")


@hookspec
def scalelab_datasets() -> list[Dataset]:  # type: ignore[empty-body]
    """Datasets that studies can train on.

    Example:
        import numpy as np
        import scalelab

        def open_blips(params):
            x = np.random.default_rng(0).normal(size=(600, 1, 64)).astype("float32")
            y = np.arange(600) % 2
            x[y == 1, 0, 30:34] += 2
            task = scalelab.Task(input_shape=(1, 64), n_outputs=2)
            train, validation = scalelab.Split(x[:500], y[:500]), scalelab.Split(x[500:], y[500:])
            return scalelab.OpenDataset(task=task, train=train, validation=validation, fingerprint="blips-1")

        @scalelab.hookimpl
        def scalelab_datasets():
            return [scalelab.Dataset(name="blips", summary="Noise with a blip", open=open_blips)]
    """


@hookspec
def scalelab_architectures() -> list[Architecture]:  # type: ignore[empty-body]
    """Families of models that studies can train.

    Example:
        import math
        from pydantic import Field
        import scalelab

        class MlpParams(scalelab.Params):
            width: int = Field(64, ge=1, description="hidden units")

        def build_mlp(params, input_shape, n_outputs):
            from torch import nn
            n = math.prod(input_shape)
            layers = [nn.Flatten(), nn.Linear(n, params.width), nn.ReLU(), nn.Linear(params.width, n_outputs)]
            return nn.Sequential(*layers)

        @scalelab.hookimpl
        def scalelab_architectures():
            space = {"width": scalelab.Doubling(8, 512)}
            return [scalelab.Architecture(
                name="mlp", summary="Two layers", build=build_mlp, params=MlpParams, space=space, head="3",
            )]
    """


@hookspec
def scalelab_optimizers() -> list[Optimizer]:  # type: ignore[empty-body]
    """Optimizers that studies can train with.

    Example:
        from pydantic import Field
        import scalelab

        class RmsParams(scalelab.Params):
            lr: float = Field(1e-3, gt=0, description="peak learning rate")
            weight_decay: float = Field(0.0, ge=0, description="L2 penalty")

        def build_rms(params, module):
            import torch
            groups = scalelab.parameter_groups(module, params.weight_decay)
            return torch.optim.RMSprop(groups, lr=params.lr)

        @scalelab.hookimpl
        def scalelab_optimizers():
            return [scalelab.Optimizer(name="rmsprop", summary="RMSprop", build=build_rms, params=RmsParams)]
    """


@hookspec
def scalelab_backends() -> list[Backend]:  # type: ignore[empty-body]
    """Runtimes that trained models are timed on.

    Example:
        import copy
        import time
        from typing import Literal
        from pydantic import Field
        import scalelab

        class F64Params(scalelab.BackendParams):
            precision: Literal["f32"] = Field("f32", description="of inputs and outputs; f64 inside")

        def devices():
            return [scalelab.Device("cpu", detail="eager PyTorch in double precision")]

        def load(params, module, example, device, calibration):
            import torch
            if device != "cpu":
                raise scalelab.InputError(f"torch-f64 has the device 'cpu', not {device!r}")
            start = time.perf_counter()
            model = copy.deepcopy(module).eval().double()
            seconds = {"convert": time.perf_counter() - start}
            def infer(inputs):
                try:
                    with torch.inference_mode():
                        return model(torch.from_numpy(inputs).double()).float().numpy()
                except RuntimeError as error:  # such as complex weights, which double() leaves single
                    reason = " ".join(str(error).split())
                    raise scalelab.BackendError(f"torch-f64 cannot run the model: {reason}") from error
            facts = {"torch": torch.__version__}
            threads = torch.get_num_threads()
            return scalelab.Executable(
                infer=infer, seconds=seconds, model_bytes=None, threads=threads, facts=facts
            )

        @scalelab.hookimpl
        def scalelab_backends():
            summary = "Eager PyTorch in double precision"
            return [scalelab.Backend(
                name="torch-f64", summary=summary, devices=devices, load=load, params=F64Params,
            )]
    """


@hookspec
def scalelab_laws() -> list[Law]:  # type: ignore[empty-body]
    """Forms of scaling laws that runs can be fitted with.

    Example:
        import numpy as np
        import scalelab

        class Logarithmic(scalelab.Law):
            # What a power law of a tiny exponent looks like.
            name = "logarithmic"
            equation = "L = A - B * log(x)"
            paper = "Viering & Loog 2023, arXiv:2103.10948, table 1 (LOG2)"
            axes = ("x",)
            params = ("A", "B")

            def value_jac(self, theta, u):
                ones = np.ones((len(theta), u[0].shape[-1]))
                return theta[:, :1] - theta[:, 1:] * u[0], np.stack([ones, -u[0] * ones], axis=1)

            def bounds(self, u, y):
                return np.array([0.0, 0.0]), np.array([10 * y.max(), 10.0])

            def starts(self, u, y):
                slope, level = np.polyfit(u[0], y, 1)
                return np.array([[level, -slope]])

            def public(self, theta, frame):
                level = theta[..., 0] + theta[..., 1] * frame.centers[0]
                return frame.y_scale * np.stack([level, theta[..., 1]], axis=-1)

        @scalelab.hookimpl
        def scalelab_laws():
            return [Logarithmic()]
    """


@hookspec
def scalelab_trainers() -> list[Trainer]:  # type: ignore[empty-body]
    """Ways to train, beside scalelab's own loop.

    Example:
        import math
        from pydantic import Field
        import scalelab

        class SmoothedParams(scalelab.Params):
            smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing of the training loss")

        def train_smoothed(params, run):
            from torch.nn.functional import cross_entropy
            step, _ = run.resume()
            while step < run.n_steps:
                stop = run.should_stop()
                run.save(step)  # now and then, and always before a stop
                if stop:
                    return run.result("interrupted", step)
                step += 1
                run.begin(step)
                inputs, targets = run.batch(step)
                run.optimizer.zero_grad()
                loss = cross_entropy(run.module(inputs), targets, label_smoothing=params.smoothing)
                loss.backward()
                run.optimizer.step()
                if step in run.validations and not math.isfinite(run.report(step, loss.item()).loss):
                    return run.result("diverged", step)
            return run.result("done", step)

        @scalelab.hookimpl
        def scalelab_trainers():
            summary = "Cross-entropy with smoothed labels"
            return [scalelab.Trainer(
                name="smoothed", summary=summary, train=train_smoothed, params=SmoothedParams,
                ignores=("ema", "class_weights", "clip_norm", "precision"),  # options of [training]
            )]
    """
