"""The bundled plugins: datasets, architectures, optimizers, backends and laws, one file or package each."""
