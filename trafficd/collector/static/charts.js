// Draws what the tables say: history, forecast with its bands, and thresholds. A page without this
// script has a still drawing in its place. The numbers come from the page's own JSON.
"use strict";

const UNITS = [["Tbit/s", 1e12], ["Gbit/s", 1e9], ["Mbit/s", 1e6], ["kbit/s", 1e3], ["bit/s", 1]];
// Of the daily history, what is shown at first and by each button; the forecast is cut alike.
const RANGES = [["3 months", 91], ["1 year", 365], ["All", 0]];
const DAY_MILLISECONDS = 24 * 60 * 60 * 1000;
const CONFIG = { displayModeBar: false, displaylogo: false, responsive: true, scrollZoom: false };

const dark = matchMedia("(prefers-color-scheme: dark)");

for (const figure of document.querySelectorAll("figure.fan")) {
  show(figure);
}

async function show(figure) {
  const answer = await fetch(figure.dataset.json, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const detail = await answer.json();
  const chart = figure.querySelector(".chart");
  const drawn = document.createElement("div");
  drawn.style.height = "100%";
  const thresholds = figure.dataset.thresholds.split(" ").map(Number);
  const orderAt = Number(figure.dataset.orderAt);
  const plot = () => {
    const { traces, layout } = described(detail, thresholds, orderAt);
    if (drawn.layout && drawn.layout.xaxis.range) {
      layout.xaxis.range = drawn.layout.xaxis.range;
      layout.xaxis.autorange = false;
    }
    return Plotly.react(drawn, traces, layout, CONFIG);
  };
  chart.replaceChildren(drawn);
  await plot();
  dark.addEventListener("change", plot);
  for (const hidden of figure.querySelectorAll(".only-drawn")) hidden.hidden = false;
  offerRanges(figure.querySelector(".ranges"), drawn, detail);
  figure.dataset.drawn = "yes";
}

function described(detail, thresholds, orderAt) {
  const capacity = detail.summary.capacity_bits_per_second;
  const { history, forecast } = detail;
  const highest = Math.max(
    1,
    capacity ?? 0,
    ...history.map((day) => day.p95_bits_per_second ?? 0),
    ...forecast.map((day) => day.high_80),
  );
  const [unit, size] = UNITS.find(([, each]) => highest >= each) ?? UNITS.at(-1);
  const scaled = (value) => (value === null ? null : value / size);
  const colour = colours();
  const past = history.map((day) => day.date);
  const ahead = forecast.map((day) => day.date);
  const line = (name, x, y, style) => ({
    type: "scatter", mode: "lines", name, x, y, line: style, connectgaps: false,
    hovertemplate: `%{y:.3r} ${unit}<extra>${name}</extra>`,
  });
  const edge = (name, key, filled) => ({
    ...line(name, ahead, forecast.map((day) => scaled(day[key])), { width: 0 }),
    ...(filled ? { fill: "tonexty", fillcolor: filled } : {}),
  });
  const traces = [
    edge("95 % to", "high_95"),
    edge("95 % from", "low_95", colour("--band-95")),
    edge("80 % to", "high_80"),
    edge("80 % from", "low_80", colour("--band-80")),
    line("mean", past, history.map((day) => scaled(day.mean_bits_per_second)), {
      color: colour("--mean"), width: 1,
    }),
    line("p95", past, history.map((day) => scaled(day.p95_bits_per_second)), {
      color: colour("--accent"), width: 1.25,
    }),
    line("expected", ahead, forecast.map((day) => scaled(day.point)), {
      color: colour("--accent"), width: 1,
    }),
  ];
  return { traces, layout: laidOut(detail, thresholds, orderAt, highest / size, unit, scaled) };
}

function laidOut(detail, thresholds, orderAt, highest, unit, scaled) {
  const colour = colours();
  const capacity = detail.summary.capacity_bits_per_second;
  const shapes = [];
  const annotations = [];
  for (const part of capacity ? thresholds : []) {
    const y = scaled(part * capacity);
    const dash = part >= 1 ? "solid" : "dash";
    shapes.push({
      type: "line", layer: "above", xref: "paper", x0: 0, x1: 1, y0: y, y1: y,
      line: { color: colour("--threshold"), width: 1, dash },
    });
    annotations.push({
      text: `${Math.round(part * 100)} %`, xref: "paper", x: 0, xanchor: "left", y,
      yanchor: "bottom", showarrow: false, font: { color: colour("--threshold"), size: 11 },
    });
  }
  const crossing = detail.summary.crossings.find((each) => each.threshold === orderAt);
  if (crossing && crossing.first) {
    shapes.push({
      type: "rect", layer: "below", yref: "paper", x0: crossing.first, x1: crossing.last, y0: 0,
      y1: 1, fillcolor: colour("--track"), line: { width: 0 },
    });
  }
  if (crossing && crossing.order_by) {
    shapes.push({
      type: "line", layer: "above", yref: "paper", x0: crossing.order_by, x1: crossing.order_by,
      y0: 0, y1: 1, line: { color: colour("--high"), width: 1 },
    });
    annotations.push({
      text: "order by", x: crossing.order_by, xanchor: "right", xshift: -3, yref: "paper", y: 1,
      yanchor: "top", showarrow: false, font: { color: colour("--high"), size: 11 },
    });
  }
  const axis = {
    gridcolor: colour("--line"), linecolor: colour("--strong"), zeroline: false, automargin: true,
    tickfont: { color: colour("--quiet"), size: 11 },
  };
  return {
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("--ink"), size: 12 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 8, r: 8, t: 8, b: 8 },
    showlegend: false,
    hovermode: "x unified",
    hoverlabel: {
      bgcolor: colour("--raised"), bordercolor: colour("--strong"),
      font: { color: colour("--ink"), size: 11 },
    },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    xaxis: { ...axis, type: "date", hoverformat: "%Y-%m-%d", showgrid: false, ticks: "outside",
      tickcolor: colour("--strong") },
    yaxis: { ...axis, range: [0, highest * 1.06], fixedrange: true,
      title: { text: unit, font: { color: colour("--quiet"), size: 11 }, standoff: 8 } },
    shapes,
    annotations,
  };
}

function offerRanges(row, drawn, detail) {
  const last = detail.history.at(-1);
  if (!last) return;
  const end = (detail.forecast.at(-1) ?? last).date;
  const buttons = RANGES.map(([label, days]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.setAttribute("aria-pressed", String(days === 0));
    button.addEventListener("click", () => {
      const range = days
        ? [shifted(last.date, -days), smaller(shifted(last.date, days), end)]
        : [detail.history[0].date, end];
      Plotly.relayout(drawn, { "xaxis.range": range });
      for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
    });
    return button;
  });
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", "What the chart shows");
  row.append(...buttons);
  row.hidden = false;
}

function shifted(day, days) {
  return new Date(Date.parse(day) + days * DAY_MILLISECONDS).toISOString().slice(0, 10);
}

function smaller(one, other) {
  return one < other ? one : other;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(name).trim();
}
