// A report that answers back. The page is whole without this file: everything that is said here stands in its
// tables and drawings already, and is found there by the names that scalelab/report/page.py gives them.
// No text from the page becomes markup: elements are made, and texts are set as text.
(() => {
  "use strict";

  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  /** Returns a new element with attributes, and texts or elements in it. */
  const made = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  const button = (label, act, attributes = {}) => {
    const element = made("button", { type: "button", ...attributes }, label);
    element.addEventListener("click", act);
    return element;
  };

  /** Returns the text of an element as it is typed: what is raised follows a caret. */
  const textOf = (element) => {
    const copy = element.cloneNode(true);
    for (const raised of all("sup", copy)) raised.textContent = `^${raised.textContent.replace("−", "-")}`;
    return copy.textContent.trim().replace(/\s+/g, " ");
  };

  const said = made("p", { role: "status", class: "unseen" });

  // ---- The state in the address: #sort.NAME=2.descending&find.NAME=adamw&off.FIGURE=sgd&axis.FIGURE=1.x&budget=1e13

  const state = new URLSearchParams();
  const restorers = [];

  const remember = (key, values) => {
    state.delete(key);
    for (const value of [values].flat()) if (value) state.append(key, value);
    const text = state.toString();
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  };

  /** Takes the state from the address; an address that names a section, as in the contents list, has none. */
  const restore = () => {
    const text = location.hash.slice(1);
    if (text && !text.includes("=")) return;
    for (const key of [...state.keys()]) state.delete(key);
    for (const [key, value] of new URLSearchParams(text)) state.append(key, value);
    for (const again of restorers) again();
  };

  // ---- Copies and files

  const copy = async (text, element) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page from a plain http address has no clipboard of its own.
      const area = made("textarea", { readonly: "", class: "unseen" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      element.focus();
    }
    const label = element.dataset.label ?? element.textContent;
    element.dataset.label = label;
    element.textContent = "Copied";
    said.textContent = "Copied";
    setTimeout(() => { element.textContent = label; said.textContent = ""; }, 1500);
  };

  /** Returns rows of texts as CSV; a text that a spreadsheet would compute is marked as one. */
  const asCsv = (rows) => rows.map((row) => row.map((text) => {
    const safe = /^[=+@\t\r-]/.test(text) && !/^[+-]?[\d.]+(e[+-]?\d+)?$/i.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }).join(",")).join("\r\n") + "\r\n";

  const asMarkdown = (rows, numeric) => {
    const line = (cells) => `| ${cells.join(" | ")} |`;
    const safe = rows.map((row) => row.map((text) => text.replace(/[\\|*_`<>[\]]/g, "\\$&")));
    return [line(safe[0]), line(numeric.map((right) => (right ? "---:" : "---"))), ...safe.slice(1).map(line)].join("\n") + "\n";
  };

  const download = (text, name) => {
    const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    made("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  };

  // ---- Tables: sort, filter, copy

  const FEW_ROWS = 6;

  /** Returns rows with those that go on with them: of a row's second line only one cell, not the first, is filled. */
  const entriesOf = (rows) => {
    const goesOn = (row) => !textOf(row.cells[0]) && [...row.cells].filter((cell) => textOf(cell)).length === 1;
    return rows.reduce((entries, row) => {
      if (entries.length && goesOn(row)) entries.at(-1).push(row);
      else entries.push([row]);
      return entries;
    }, []);
  };

  const shownRows = (table) => all("tbody tr", table).filter((row) => !row.hidden);

  /** Returns head and rows of a table as they are shown. */
  const textsOf = (table) => [all("thead th", table).map(textOf), ...shownRows(table).map((row) => [...row.cells].map(textOf))];

  const PREFIXES = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

  /** Returns the number that a text shows, such as 3.4M or -∞, as a program reads it. */
  const numberIn = (text) => {
    const [, infinite, digits, prefix] = text.trim().match(/^(?:([+-]?)∞|([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?) ?([EPTGMk]?))/) ?? [];
    if (infinite !== undefined) return `${infinite.replace("+", "")}inf`;
    if (digits === undefined) return "";
    const [size] = PREFIXES.find(([, one]) => one === prefix) ?? [1];
    return String(Number((Number(digits.replaceAll(",", "")) * size).toPrecision(12)));
  };

  /** Returns the number of a cell; an empty text where it is none. */
  const numberOf = (cell) => cell.dataset.value ?? (cell.closest("table").classList.contains(`n${cell.cellIndex + 1}`) ? numberIn(textOf(cell)) : "");

  /** What else a cell may say beside its number, and the columns of their own that this has in a file of numbers. */
  const MORE = [[/\[([^,\]]+), ([^\]]+)\]/, ["lower", "upper"]], [/± (\S+) \((\d+)\)/, ["standard deviation", "seeds"]]];

  /** Returns head and rows of a table as numbers in full, without prefixes: units in the head, ends of intervals apart. */
  const numbersIn = (table) => {
    const rows = shownRows(table).map((row) => [...row.cells]);
    const more = all("thead th", table).map((_, i) => MORE.find(([form]) => rows.some((row) => row[i] && numberOf(row[i]) && form.test(row[i].textContent))));
    const head = all("thead th", table).flatMap((cell, i) => {
      const unit = cell.dataset.unit ? ` (${cell.dataset.unit})` : "";
      return [textOf(cell) + unit, ...(more[i]?.[1] ?? []).map((name) => `${textOf(cell)}, ${name}${unit}`)];
    });
    return [head, ...rows.map((row) => row.flatMap((cell, i) => {
      const found = more[i] && numberOf(cell) ? cell.textContent.match(more[i][0]) : null;
      return [numberOf(cell) || textOf(cell), ...(more[i]?.[1] ?? []).map((_, k) => (found ? numberIn(found[k + 1]) : ""))];
    }))];
  };

  const keyOf = (row, column) => {
    const cell = row.cells[column];
    const number = cell ? numberOf(cell) : "";
    return number === "" ? textOf(cell ?? row) : Number(number);
  };

  /** Compares cells: numbers by their value, names as people order them; cells without anything are last. */
  const compare = (a, b, sign) => {
    const rank = (key) => (typeof key === "number" ? 0 : key ? 1 : 2);
    if (rank(a) !== rank(b)) return rank(a) - rank(b);
    return sign * (rank(a) === 0 ? a - b : a.localeCompare(b, "en", { numeric: true }));
  };

  const sortable = (table) => {
    const name = table.dataset.name;
    const heads = all("thead th", table);
    const body = table.tBodies[0];
    const original = entriesOf([...body.rows]);
    const sort = (column, order) => {
      heads.forEach((head, i) => {
        if (i === column && order) head.setAttribute("aria-sort", order);
        else head.removeAttribute("aria-sort");
      });
      const sign = order === "descending" ? -1 : 1;
      const keyed = original.map((entry) => [keyOf(entry[0], column), entry]);
      body.append(...(order ? keyed.sort((a, b) => compare(a[0], b[0], sign)) : keyed).flatMap(([, entry]) => entry));
    };
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const turn = button("", () => {
        const order = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
        sort(column, order);
        remember(`sort.${name}`, order && `${column}.${order}`);
      }, { class: "sort" });
      turn.append(...head.childNodes);
      head.append(turn);
    });
    restorers.push(() => {
      const [column, order] = (state.get(`sort.${name}`) ?? "").split(".");
      const known = Number(column) < heads.length && ["ascending", "descending"].includes(order);
      sort(known ? Number(column) : 0, known ? order : "");
    });
  };

  const filterable = (table, tools) => {
    const name = table.dataset.name;
    const count = made("span", { role: "status" });
    const rows = all("tbody tr", table);
    const texts = entriesOf(rows).flatMap((entry) => entry.map(() => entry.map(textOf).join(" ").toLowerCase()));
    const field = made("input", { type: "search", "aria-label": `Filter: ${textOf(table.caption)}`, placeholder: "Filter rows" });
    const filter = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach((row, i) => { row.hidden = !words.every((word) => texts[i].includes(word)); });
      count.textContent = words.length ? `${shownRows(table).length} of ${rows.length} rows` : "";
    };
    field.addEventListener("input", () => { filter(); remember(`find.${name}`, field.value); });
    restorers.push(() => { field.value = state.get(`find.${name}`) ?? ""; filter(); });
    tools.append(field, count);
  };

  const tableTools = (table) => {
    const tools = made("div", { class: "tools" });
    const rows = all("tbody tr", table);
    if (rows.length > 1) sortable(table);
    if (rows.length >= FEW_ROWS) filterable(table, tools);
    const about = textOf(table.caption);
    const numeric = all("thead th", table).map((head) => head.classList.contains("number"));
    for (const [kind, write] of [["CSV", () => asCsv(numbersIn(table))], ["Markdown", () => asMarkdown(textsOf(table), numeric)]]) {
      tools.append(button(`Copy as ${kind}`, (event) => copy(write(), event.currentTarget), { "aria-label": `Copy as ${kind}: ${about}` }));
    }
    const around = table.closest(".scroll") ?? table;
    around.before(tools);
    if (tools.previousElementSibling?.tagName === "SUMMARY") return;
    // What a table is called stands above its tools; its caption stays for those who hear the page.
    tools.before(made("p", { class: "title", "aria-hidden": "true" }, about));
    table.caption.classList.add("unseen");
  };

  // ---- Runs: what is known of one, and everything on the page that is about it

  const data = JSON.parse(document.getElementById("runs-data").textContent);
  const keys = data.repeats.flatMap((n, i) => Array(n).fill(`r${i + 1}`));
  const marked = new Map();
  const about = (run) => marked.get(run) ?? [];

  const light = (run) => {
    for (const element of all(".lit")) element.classList.remove("lit");
    for (const element of about(run)) element.classList.add("lit");
  };

  const rowOf = (run) => about(run).find((element) => element.matches("tr"));

  const goTo = (row) => {
    for (let box = row.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    row.hidden = false;
    hideCard();
    row.scrollIntoView({ block: "center" });
    row.focus({ preventScroll: true });
  };

  const card = made("div", { class: "card", role: "group", "aria-label": "Run", hidden: "" });
  let leaving = 0;

  const hideCard = () => { clearTimeout(leaving); card.hidden = true; light(); };
  const leave = () => { clearTimeout(leaving); leaving = setTimeout(hideCard, 250); };

  /** Returns what is known of a run: its settings, and seed and loss of each of its repeats. */
  const factsOf = (run) => {
    const facts = made("dl");
    const places = keys.flatMap((key, i) => (key === run ? [i] : []));
    for (const [name, known, values] of places.length ? data.columns : []) {
      const own = known ? values.map((one) => known[one]) : values.split("|");
      const texts = places.map((i) => own[i]).filter(Boolean);
      const shown = ["run", "seed", "loss"].includes(name) ? texts : [...new Set(texts)];
      if (shown.length) facts.append(made("dt", {}, name), made("dd", {}, shown.join(", ")));
    }
    return facts;
  };

  const showCard = (mark) => {
    clearTimeout(leaving);
    const run = mark.dataset.run;
    light(run);
    mark.classList.add("lit");
    const row = run && rowOf(run);
    card.replaceChildren(made("p", {}, made("b", {}, mark.getAttribute("aria-label"))));
    if (run) card.append(factsOf(run));
    if (row) {
      const link = made("a", { href: `#${row.closest("table").id}` }, "Show its row");
      link.addEventListener("click", (event) => { event.preventDefault(); goTo(row); });
      card.append(made("p", {}, link));
    }
    card.hidden = false;
    const at = mark.getBoundingClientRect();
    const own = card.getBoundingClientRect();
    const left = Math.min(Math.max(at.left + at.width / 2 - own.width / 2, 8), innerWidth - own.width - 8);
    const below = at.bottom + 10 + own.height < innerHeight || at.top < own.height + 10;
    card.style.left = `${Math.max(left, 8) + scrollX}px`;
    card.style.top = `${(below ? at.bottom + 8 : at.top - own.height - 8) + scrollY}px`;
  };

  /** Returns the words of a panel's axis. */
  const axisWords = (panel, name) => textOf(panel.querySelector(name === "x" ? ".axis.middle" : ".axis:not(.middle)") ?? made("i"));

  /** Returns where a point lies that has no words of its own. */
  const placeWords = (mark) => ["x", "y"].map((name) => `${axisWords(mark.closest(".panel"), name)} ${label(Number(mark.dataset[name]))}`).join(", ");

  /** Makes the marks of a drawing one stop of the keyboard; arrows go from mark to mark, Enter to its row. */
  const markable = (drawing) => {
    const known = all(".point[data-x], .series[data-run]", drawing).filter((mark) => mark.querySelector(":scope > title") || mark.dataset.words || mark.dataset.run);
    if (!known.length) return;
    const place = (mark) => [Number(mark.dataset.x ?? 0), Number(mark.dataset.y ?? 0)];
    known.sort((a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1]);
    drawing.setAttribute("role", "group");
    for (const mark of known) {
      const title = mark.querySelector(":scope > title");
      // The browser's own hint would lie over the card.
      mark.setAttribute("aria-label", title?.textContent || mark.dataset.words || placeWords(mark));
      title?.remove();
      mark.setAttribute("role", mark.dataset.run && rowOf(mark.dataset.run) ? "link" : "img");
      mark.setAttribute("tabindex", "-1");
    }
    known[0].setAttribute("tabindex", "0");
    drawing.addEventListener("keydown", (event) => {
      const seen = known.filter((mark) => !mark.closest(".off"));
      const from = seen.indexOf(event.target);
      const to = { ArrowRight: from + 1, ArrowUp: from + 1, ArrowLeft: from - 1, ArrowDown: from - 1, Home: 0, End: seen.length - 1 }[event.key];
      if (from < 0 || (to === undefined && event.key !== "Enter")) return;
      event.preventDefault();
      if (to === undefined) {
        const row = rowOf(event.target.dataset.run);
        if (row) goTo(row);
        return;
      }
      const next = seen[Math.min(Math.max(to, 0), seen.length - 1)];
      for (const mark of known) mark.setAttribute("tabindex", mark === next ? "0" : "-1");
      next.focus();
    });
  };

  /** Gives each point of a group its run and its numbers, which the group has for all of them. */
  const tellPoints = (group) => {
    const told = group.dataset.points.split(";");
    const together = group.querySelector(":scope > title");
    all(":scope > path", group).forEach((point, i) => {
      const [run, x, y] = told[i].split(" ");
      Object.assign(point.dataset, { x, y }, run && { run });
      point.classList.add("point");
      if (together) point.dataset.words = `${together.textContent}: ${axisWords(point.closest(".panel"), "y")} ${label(Number(y))}`;
    });
    together?.remove();
  };

  const watchRuns = () => {
    all("g.points").forEach(tellPoints);
    for (const element of all("[data-run]")) {
      const own = marked.get(element.dataset.run) ?? [];
      marked.set(element.dataset.run, [...own, element]);
    }
    for (const drawing of all("figure svg[role=img]")) markable(drawing);
    const markAt = (event) => event.target.closest?.("figure [aria-label][tabindex]");
    const rowAt = (event) => event.target.closest?.("tr[data-run]");
    for (const [enter, exit] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
      document.addEventListener(enter, (event) => {
        if (card.contains(event.target)) clearTimeout(leaving);
        else if (markAt(event)) showCard(markAt(event));
        else if (rowAt(event)) light(rowAt(event).dataset.run);
      });
      document.addEventListener(exit, (event) => {
        if (markAt(event) || card.contains(event.target)) leave();
        else if (rowAt(event)) light();
      });
    }
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideCard(); });
    for (const body of all("tbody")) {
      const rows = all("tr[data-run]", body);
      rows.forEach((row, i) => row.setAttribute("tabindex", i ? "-1" : "0"));
      body.addEventListener("keydown", (event) => {
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        const shown = [...body.rows].filter((row) => !row.hidden && row.dataset.run);
        const next = shown[shown.indexOf(event.target) + step];
        if (!step || !shown.includes(event.target) || !next) return;
        event.preventDefault();
        rows.forEach((row) => row.setAttribute("tabindex", row === next ? "0" : "-1"));
        next.focus();
      });
    }
  };

  // ---- Figures: families, scales, numbers

  const families = (figure) => {
    const entries = all(".legend li[data-family]", figure).filter((entry) => entry.dataset.family);
    const names = [...new Set(entries.map((entry) => entry.dataset.family))];
    const key = `off.${figure.dataset.name}`;
    const off = new Set();
    const show = () => {
      for (const series of all("g.series[data-family]", figure)) series.classList.toggle("off", off.has(series.dataset.family));
      for (const entry of entries) entry.firstChild.setAttribute("aria-pressed", String(!off.has(entry.dataset.family)));
    };
    for (const entry of entries) {
      const family = entry.dataset.family;
      const toggle = button("", () => {
        if (!off.delete(family)) off.add(family);
        show();
        remember(key, [...off]);
      }, { "aria-pressed": "true" });
      toggle.append(...entry.childNodes);
      entry.append(toggle);
    }
    restorers.push(() => {
      off.clear();
      for (const name of state.getAll(key)) if (names.includes(name)) off.add(name);
      show();
    });
  };

  /** An axis of a panel: from numbers to places and back. */
  const axisOf = (panel, name) => {
    const [kind, ...facts] = (panel.dataset[`${name}Axis`] ?? "").split(" ");
    const [low, high, start, end] = facts.map(Number);
    return facts.length ? { log: kind === "log", low, high, start, end } : null;
  };

  const placeOn = (axis, value) => {
    const share = axis.log ? Math.log(value / axis.low) / Math.log(axis.high / axis.low) : (value - axis.low) / (axis.high - axis.low);
    // What lies beyond the ends, as a wide band, leaves the panel.
    return axis.start + Math.min(Math.max(share, 0), 1) * (axis.end - axis.start);
  };

  const valueOn = (axis, place) => {
    const share = (place - axis.start) / (axis.end - axis.start);
    return axis.log ? axis.low * (axis.high / axis.low) ** share : axis.low + share * (axis.high - axis.low);
  };

  /** Returns the same axis with the other scale, around numbers; null where one of them has no logarithm. */
  const turned = (axis, values) => {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    if (!(least < most) || (!axis.log && least <= 0)) return null;
    const room = axis.log ? 0.05 * (most - least) : (most / least) ** 0.05;
    const [low, high] = axis.log ? [least - room, most + room] : [least / room, most * room];
    return { ...axis, log: !axis.log, low, high };
  };

  const label = (value) => {
    const [size, prefix] = PREFIXES.find(([one]) => Math.abs(value) >= one * 0.9995) ?? [1, ""];
    return `${Number((value / size).toPrecision(3))}${Math.abs(value) >= 1e21 ? "" : prefix}`;
  };

  const ticksOf = (axis) => {
    if (axis.log) {
      const decades = Math.log10(axis.high / axis.low);
      const steps = decades > 2.5 ? [1] : decades > 1 ? [1, 3] : [1, 2, 5];
      const first = Math.floor(Math.log10(axis.low));
      const powers = Array.from({ length: Math.ceil(decades) + 2 }, (_, i) => first + i);
      const found = powers.flatMap((power) => steps.map((step) => step * 10 ** power));
      const shown = found.filter((value) => value >= axis.low && value <= axis.high);
      if (shown.length > 1) return shown;
    }
    const rough = (axis.high - axis.low) / 5;
    const size = 10 ** Math.floor(Math.log10(rough));
    const step = size * [1, 2, 2.5, 5, 10].find((one) => one * size >= rough);
    const first = Math.ceil(axis.low / step);
    const count = Math.floor(axis.high / step) - first + 1;
    return Array.from({ length: count }, (_, i) => (first + i) * step);
  };

  const LETTER = 6.4;
  const apart = (ticks, along) => {
    for (let step = 1; step < ticks.length; step += 1) {
      const kept = ticks.filter((_, i) => i % step === 0);
      const size = (text) => (along ? LETTER * text.length : 12);
      if (kept.every(([at, text], i) => !i || Math.abs(at - kept[i - 1][0]) >= (size(text) + size(kept[i - 1][1])) / 2 + 6)) return kept;
    }
    return ticks.slice(0, 1);
  };

  const round = (value) => String(Math.round(value * 10) / 10);
  const PIECE = 12;

  /** Returns a path with its places moved; small letters draw a mark around a place, and keep their size. */
  const moved = (path, x, y) => {
    let [a, b] = [0, 0];
    const out = [];
    for (const [, letter, words] of path.matchAll(/([A-Za-z])([^A-Za-z]*)/g)) {
      const numbers = (words.match(/-?[\d.]+/g) ?? []).map(Number);
      if (letter === "H") { [a] = numbers; out.push(`H${round(x(a))}`); }
      else if (letter === "V") { [b] = numbers; out.push(`V${round(y(b))}`); }
      else if (letter === "M") { [a, b] = numbers; out.push(`M${round(x(a))} ${round(y(b))}`); }
      else if (letter === "L") {
        const [c, d] = numbers;
        // What is straight on one scale is bent on the other.
        const pieces = Math.max(1, Math.ceil(Math.hypot(c - a, d - b) / PIECE));
        for (let i = 1; i <= pieces; i += 1) out.push(`L${round(x(a + ((c - a) * i) / pieces))} ${round(y(b + ((d - b) * i) / pieces))}`);
        [a, b] = [c, d];
      } else out.push(letter + words);
    }
    return out.join("");
  };

  const scalable = (figure, panel, number, key) => {
    const before = { x: axisOf(panel, "x"), y: axisOf(panel, "y") };
    if (!before.x || !before.y) return [];
    const points = all(".point[data-x]", panel);
    const marks = all(".series path, path.reference", panel).map((path) => [path, path.getAttribute("d")]);
    const corners = all("path.line", panel).flatMap((line) => placesOf(line.dataset.drawn));
    const kept = all("g.tick, path.grid", panel);
    const now = { ...before };
    const redraw = () => {
      const same = now.x === before.x && now.y === before.y;
      const to = (name) => (now[name] === before[name] ? (place) => place : (place) => placeOn(now[name], valueOn(before[name], place)));
      for (const [path, original] of marks) {
        // Points have their numbers; all else is moved from where it was drawn.
        const own = (name) => (now[name] !== before[name] && path.dataset[name] ? () => placeOn(now[name], Number(path.dataset[name])) : to(name));
        path.setAttribute("d", same ? original : moved(original, own("x"), own("y")));
      }
      for (const drawn of all(".redrawn", panel)) drawn.remove();
      for (const original of kept) original.classList.toggle("off", !same);
      if (!same) drawTicks(panel, now);
    };
    const controls = ["x", "y"].map((name) => {
      const values = points.map((point) => Number(point.dataset[name])).concat(corners.map((place) => valueOn(before[name], place[name === "x" ? 0 : 1])));
      const other = points.length ? turned(before[name], values) : null;
      if (!other) return null;
      const toggle = button(`${name}: ${before[name].log ? "log" : "linear"}`, () => {
        turn(now[name] === before[name]);
        const others = state.getAll(key).filter((one) => one !== `${number}.${name}`);
        remember(key, now[name] === before[name] ? others : [...others, `${number}.${name}`]);
      }, { "data-axis": name });
      const turn = (away) => {
        now[name] = away ? other : before[name];
        toggle.textContent = `${name}: ${now[name].log ? "log" : "linear"}`;
        toggle.setAttribute("aria-label", `${toggle.textContent} scale of ${axisWords(panel, name)}; change`);
        redraw();
      };
      restorers.push(() => turn(state.getAll(key).includes(`${number}.${name}`)));
      return toggle;
    });
    return controls.filter(Boolean);
  };

  const drawTicks = (panel, { x, y }) => {
    const drawn = (name, attributes, within) => {
      const element = document.createElementNS(panel.namespaceURI, name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      within.append(element);
      return element;
    };
    const labels = (side, ticks) => {
      const group = drawn("g", { class: `tick ${side} redrawn` }, panel);
      for (const [across, down, words] of ticks) drawn("text", { x: round(across), y: round(down) }, group).textContent = words;
    };
    const at = (axis, along) => apart(ticksOf(axis).map((value) => [placeOn(axis, value), label(value)]), along);
    const [across, down] = [at(x, true), at(y, false)];
    const lines = across.map(([place]) => `M${round(place)} ${round(y.start)}V${round(y.end)}`)
      .concat(down.map(([place]) => `M${round(x.start)} ${round(place)}H${round(x.end)}`));
    panel.prepend(drawn("path", { class: "grid redrawn", d: lines.join("") }, panel));
    labels("middle", across.map(([place, words]) => [place, y.start + 15, words]));
    labels("end", down.map(([place, words]) => [x.start - 6, place + 4, words]));
  };

  /** Returns the numbers of a figure: points and bars exactly, lines, bands and spreads as far as they are drawn. */
  const numbersOf = (figure) => {
    const rows = [["panel", "series", "kind", "run", "x axis", "y axis", "x", "y", "lower", "upper"]];
    for (const panel of all("g.panel", figure)) {
      const [title, xName, yName] = [textOf(panel.querySelector(".title") ?? made("i")), axisWords(panel, "x"), axisWords(panel, "y")];
      for (const bar of all(":scope > .bar > title, :scope > .row > title", panel)) {
        const [, name, value, lower, upper] = bar.textContent.match(/^(.*): (\S+?)(?: \[(\S+), (\S+)\])?$/s);
        rows.push([title, name, bar.parentElement.classList[0], "", xName, "", value, "", lower ?? "", upper ?? ""]);
      }
      const axes = [axisOf(panel, "x"), axisOf(panel, "y")];
      const values = (place) => place.map((one, i) => valueOn(axes[i], one).toPrecision(4));
      for (const series of axes.includes(null) ? [] : all("g.series", panel)) {
        const add = (kind, run, x, y, lower = "", upper = "") => rows.push([title, series.dataset.series ?? "", kind, run ?? "", xName, yName, x, y, lower, upper]);
        const drawn = (kind) => all(`path.${kind}`, series).map((path) => placesOf(path.dataset.drawn).map(values));
        for (const point of all(".point[data-x]", series)) add("point", point.dataset.run, point.dataset.x, point.dataset.y);
        for (const dots of drawn("dots")) for (const [x, y] of dots) add("point", "", x, y);
        for (const line of drawn("line")) for (const [x, y] of line) add("line", series.dataset.run, x, y);
        // A band goes along its upper end and back along its lower one, a spread from end to end.
        for (const band of drawn("band")) band.slice(0, band.length / 2).forEach(([x, upper], i) => add("band", "", x, "", band[band.length - 1 - i][1], upper));
        for (const ends of drawn("error")) for (let i = 1; i < ends.length; i += 2) add("spread", "", ends[i][0], "", ...[ends[i - 1][1], ends[i][1]].sort((a, b) => a - b));
      }
    }
    return rows;
  };

  /** Returns the corners of a line. */
  const placesOf = (path) => {
    let [a, b] = [0, 0];
    return [...path.matchAll(/([MLHV])([^A-Za-z]*)/g)].map(([, letter, words]) => {
      const numbers = words.match(/-?[\d.]+/g).map(Number);
      if (letter === "H") [a] = numbers;
      else if (letter === "V") [b] = numbers;
      else [a, b] = numbers;
      return [a, b];
    });
  };

  const figureTools = (figure) => {
    const name = figure.dataset.name;
    for (const path of all(".series path:not(.point)", figure)) path.dataset.drawn = path.getAttribute("d");
    families(figure);
    all("g.panel", figure).forEach((panel, i) => {
      const controls = scalable(figure, panel, i + 1, `axis.${name}`);
      if (controls.length) panel.closest("svg").after(made("div", { class: "tools" }, ...controls));
    });
    const caption = textOf(figure.querySelector("figcaption b") ?? figure);
    figure.append(made("div", { class: "tools" }, button("Download numbers (CSV)", () => download(asCsv(numbersOf(figure)), `${name}.csv`), { "aria-label": `Download numbers (CSV): ${caption}` })));
  };

  // ---- Budgets: a slider over the answers that stand in the page, each that of `scalelab advise`

  const budgets = (list, number) => {
    const table = document.getElementById(list.dataset.table);
    const stops = all("li[data-budget]", list);
    if (stops.length < 2) return;
    const id = number ? `budget-stop-${number + 1}` : "budget-stop";
    const usual = stops.length - 1;
    const key = `budget${number ? `.${number + 1}` : ""}`;
    const keys = stops.map((stop) => stop.dataset.budget);
    const range = made("input", { type: "range", id, min: "0", max: String(stops.length - 1), step: "1" });
    const answer = made("output", { for: id });
    const rows = [...table.tBodies[0].rows];
    const view = made("table", { class: table.className, style: table.getAttribute("style") }, made("caption", {}, "Families at this budget"), table.tHead.cloneNode(true), made("tbody"));
    const notes = made("div");
    const show = () => {
      const budget = textOf(stops[range.value]).split(",")[0];
      const words = stops[range.value].cloneNode(true);
      notes.replaceChildren(...all(".note", words).map((note) => made("p", { class: "note" }, ...note.childNodes)));
      for (const extra of all(".note, br", words)) extra.remove();
      answer.textContent = textOf(words);
      range.setAttribute("aria-valuetext", answer.textContent);
      const own = rows.filter((row) => textOf(row.cells[0]) === budget);
      view.tBodies[0].replaceChildren(...own.map((row) => row.cloneNode(true)));
      for (const row of view.tBodies[0].rows) row.classList.remove("chosen");
      rows.forEach((row) => row.classList.toggle("chosen", own.includes(row)));
    };
    range.addEventListener("input", () => {
      show();
      remember(key, Number(range.value) === usual ? "" : keys[range.value]);
    });
    restorers.push(() => {
      const asked = keys.indexOf(state.get(key));
      range.value = String(asked < 0 ? usual : asked);
      show();
    });
    const scroll = made("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Families at this budget" }, view);
    list.replaceWith(made("div", { class: "slider" }, made("label", { for: id }, "Training budget"), range, answer, scroll, notes));
  };

  // ---- Start

  watchRuns();
  for (const figure of all("figure[data-name]")) figureTools(figure);
  all("ul.stops").forEach(budgets);
  for (const table of all("table[data-name]")) tableTools(table);
  for (const element of all("button[data-copy]")) {
    element.hidden = false;
    element.addEventListener("click", () => copy(document.getElementById(element.dataset.copy).textContent, element));
  }
  (document.querySelector("main") ?? document.body).append(said, card);
  addEventListener("hashchange", restore);
  restore();
  for (const again of location.hash.includes("=") ? [] : restorers) again();
})();
