"""Real records, read as wfdb reads them."""

from __future__ import annotations

import numpy as np
from physionet_samples import REAL, needs_real
from scalelab_plugins.physionet2021.leads import LEADS
from scalelab_plugins.physionet2021.records import find_records, read_record


@needs_real
def test_all_real_records_agree_with_wfdb_sample_by_sample():
    import wfdb

    headers = find_records(REAL)
    assert len(headers) == 113
    for header in headers:
        ours, theirs = read_record(header), wfdb.rdrecord(str(header.with_suffix("")))
        assert theirs.sig_name == list(LEADS)
        np.testing.assert_array_equal(ours.signal, theirs.p_signal.T.astype(np.float32))
        assert (ours.status, ours.repairs, ours.reason) == ("read", (), None)
        assert ours.rate == theirs.fs
        assert ours.signal.dtype == np.float32
        assert ours.signal.shape == (12, theirs.sig_len)
        assert ours.n_samples == theirs.sig_len
        assert np.isfinite(ours.signal).all()


@needs_real
def test_real_flat_leads_are_kept_and_noted():
    record = read_record(REAL / "training/ningbo/g1/JS45542.hea")
    assert record.notes == ("flat leads: V1, V2, V3, V4, V5, V6",)
    assert (record.status, record.source) == ("read", "ningbo")
    assert (np.ptp(record.signal[6:], axis=1) == 0).all()
    assert (np.ptp(record.signal[:6], axis=1) > 0).all()
