"""Design spaces as distributions of models (Radosavovic et al. 2019, 2020).

*On network design spaces for visual recognition* (2019) compares spaces by the distribution of the errors of
models drawn from them; *Designing network design spaces* (2020) narrows a space to where its best models are.
"""
