"""The whole extension surface: four hooks, each returning frozen descriptors.

A plugin is a module that implements one or more of these functions, marked with ``scalelab.hookimpl`` and
named by an entry point of the group ``scalelab``, or one file in a folder given as ``--plugins-dir``. A hook
takes no arguments, returns a list, and is called once each time plugins are loaded, so it must be cheap.
The examples are whole: each is a plugin that loads.
"""

from __future__ import annotations

import pluggy

from scalelab.components import Architecture, Backend, Dataset, Optimizer

hookspec = pluggy.HookspecMarker("scalelab")
hookimpl = pluggy.HookimplMarker("scalelab")


@hookspec
def scalelab_datasets() -> list[Dataset]:  # type: ignore[empty-body]
    """Datasets that studies can train on.

    Example::

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

    Example::

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

    Example::

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

    Example::

        import copy
        import scalelab

        def devices():
            return [scalelab.Device("cpu", detail="eager PyTorch in double precision")]

        def load(params, module, example, device):
            import torch
            if device != "cpu":
                raise scalelab.InputError(f"torch-f64 has the device 'cpu', not {device!r}")
            model = copy.deepcopy(module).eval().double()
            def infer(inputs):
                with torch.inference_mode():
                    return model(torch.from_numpy(inputs).double()).float().numpy()
            return infer

        @scalelab.hookimpl
        def scalelab_backends():
            summary = "Eager PyTorch in double precision"
            return [scalelab.Backend(name="torch-f64", summary=summary, devices=devices, load=load)]
    """
