"""`scalelab data inspect mitbih`: every record of a folder, and the beats in it."""

from __future__ import annotations

from collections import Counter

import scalelab

from .beats import AAMI, PACED
from .params import InspectParams
from .reader import REMEDY, read


def inspect_records(params: InspectParams, progress: scalelab.Progress) -> scalelab.Inspection:
    """Reads every record of a folder and counts its beats by AAMI class.

    Raises:
        scalelab.DataError: The folder is missing or holds no records.
    """
    folder = params.folder.expanduser().resolve()
    names = sorted(path.stem for path in folder.glob("*.hea"))
    if not names:
        raise scalelab.DataError(f"mitbih: {folder} holds no records (*.hea); {REMEDY}")
    rows: list[scalelab.Row] = []
    beats: Counter[str] = Counter()
    leads: Counter[str] = Counter()
    for done, name in enumerate(names, 1):
        try:
            record = read(folder, name)
        except scalelab.DataError as error:
            rows.append({"record": name, "status": "rejected", "remarks": str(error)})
        else:
            found = Counter(AAMI[symbol] for symbol in record.symbols.tolist() if symbol in AAMI)
            beats += found
            leads.update(record.leads)
            rows.append(
                {
                    "record": name,
                    "status": "read",
                    "Hz": record.rate,
                    "seconds": round(record.signal.shape[1] / record.rate, 1),
                    "leads": ", ".join(record.leads),
                    **{label: found[label] for label in dict.fromkeys(AAMI.values())},
                    "remarks": "paced" if name in PACED else "",
                }
            )
        progress(done, len(names), "reading")
    n_read = sum(row["status"] == "read" for row in rows)
    columns = {key: None for row in rows for key in row}
    return scalelab.Inspection(
        title=f"{folder}: {len(rows)} records: {n_read} read, {len(rows) - n_read} rejected",
        tables={
            "Beats by AAMI class": [
                {"class": label, "beats": beats[label]} for label in dict.fromkeys(AAMI.values())
            ],
            "Records by lead": [{"lead": lead, "records": n} for lead, n in leads.most_common()],
        },
        records=[columns | dict(row) for row in rows],
    )
