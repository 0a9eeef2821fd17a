"""Many pictures: `plan` pairs inputs with outputs, `pipeline` reads them and runs them through a model."""
