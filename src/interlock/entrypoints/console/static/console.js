// What pages do beside being read: the shortcut to the search box, the theme, live parts, charts, filters of a timeline.
(() => {
  "use strict";
  const body = document.body;

  document.addEventListener("keydown", (event) => {
    const box = document.getElementById("q");
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
    if (!box) return;
    if ((event.key === "/" && !typing) || (event.key === "k" && (event.ctrlKey || event.metaKey))) {
      event.preventDefault();
      box.focus();
      box.select();
    } else if (event.key === "Escape" && event.target === box) box.blur();
  });

  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const theme = document.getElementById("theme");
  if (theme) theme.addEventListener("click", () => {
    const next = dark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem("theme", next); } catch { /* for this page only */ }
    drawAll();
  });

  // htmx sends the form token with whatever it changes.
  document.addEventListener("htmx:configRequest", (event) => {
    if (body.dataset.csrf) event.detail.headers["x-csrf-token"] = body.dataset.csrf;
  });

  // Parts of a page say which topics they show; a topic's event has them asked for again: at once, or when somebody looks and
  // nothing in the part is being filled in.
  const missed = new Set();
  const refresh = (topic) => {
    for (const part of document.querySelectorAll("[data-on]")) {
      if (!part.dataset.on.split(" ").includes(topic)) continue;
      const open = part.contains(document.activeElement) && document.activeElement.tagName !== "A";
      if (open || document.hidden) missed.add(topic);
      else if (window.htmx) htmx.trigger(part, "changed");
    }
  };
  const catchUp = () => {
    if (document.hidden) return;
    const topics = [...missed];
    missed.clear();
    topics.forEach(refresh);
  };
  document.addEventListener("visibilitychange", catchUp);
  document.addEventListener("focusout", () => setTimeout(catchUp));
  if (body.dataset.live && document.querySelector("[data-on]")) {
    // By looks: every topic has a mark that changes with it. A page that nobody sees does not look.
    const look = () => {
      let known, timer;
      const once = async () => {
        if (document.hidden) return;
        let found;
        try {
          const answer = await fetch(`${body.dataset.live}/marks`);
          if (answer.redirected) return stop(); // signed out: the next click says so
          if (!answer.ok) return;
          found = await answer.json();
        } catch { return; } // the next look may reach it
        const before = known;
        known = found;
        if (before) for (const topic of Object.keys(found)) if (found[topic] !== before[topic]) refresh(topic);
      };
      const stop = () => { clearInterval(timer); document.removeEventListener("visibilitychange", once); };
      timer = setInterval(once, 15000);
      document.addEventListener("visibilitychange", once);
      once();
    };
    const topics = ["payments", "alerts", "queues", "replays"];
    if (body.dataset.liveBy === "stream" && window.EventSource) {
      const source = new EventSource(body.dataset.live);
      let wasOpen = false;
      const giveUp = () => { clearTimeout(patience); source.close(); look(); };
      const patience = setTimeout(giveUp, 20000); // something between keeps the stream to itself
      source.onopen = () => {
        clearTimeout(patience);
        if (wasOpen) topics.forEach(refresh); // nobody said what happened while there was no stream
        wasOpen = true;
      };
      source.onerror = () => { if (source.readyState === EventSource.CLOSED) giveUp(); };
      for (const topic of topics) source.addEventListener(topic, () => refresh(topic));
      addEventListener("pagehide", () => { clearTimeout(patience); source.close(); });
    } else look();
  }

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return { text: of("--soft"), line: of("--line"), series: [of("--accent"), of("--bad"), of("--good"), of("--wait"), of("--text")] };
  };
  const charts = new Map();
  const draw = (figure) => {
    if (!window.uPlot) return;
    const old = charts.get(figure);
    if (old) old.destroy();
    figure.textContent = "";
    const data = JSON.parse(figure.dataset.chart);
    if (!data.times || !data.times.length) { figure.textContent = "Nothing to draw in this time."; return; }
    const look = colours();
    const axis = { stroke: look.text, grid: { stroke: look.line, width: 1 }, ticks: { stroke: look.line } };
    const value = (_, one) => one == null ? "–" : `${one}${data.unit || ""}`;
    const options = {
      width: Math.max(200, figure.clientWidth - 20), height: 220, tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
      scales: { x: { time: data.time !== false }, y: { range: (_, low, high) => [data.min ?? Math.min(0, low), data.max ?? high * 1.05 + 1] } },
      axes: [{ ...axis, values: [[86400, "{DD}.{MM}.", null, null, null, null, null, null, 1], [60, "{HH}:{mm}", "\n{DD}.{MM}.", null, "\n{DD}.{MM}.", null, null, null, 1]] }, { ...axis, size: 56, values: (_, all) => all.map((one) => `${one}${data.unit || ""}`) }],
      series: [{ value: (_, at) => at == null ? "–" : new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ") },
        ...data.series.map((one, place) => ({ label: one.name, stroke: look.series[place % look.series.length], width: 2, value, spanGaps: true,
          points: { show: data.times.length < 60 }, dash: place >= look.series.length ? [6, 4] : undefined }))],
    };
    charts.set(figure, new uPlot(options, [data.times, ...data.series.map((one) => one.values)], figure));
  };
  const drawAll = () => {
    for (const known of charts.keys()) if (!known.isConnected) { charts.get(known).destroy(); charts.delete(known); }
    document.querySelectorAll("[data-chart]").forEach(draw);
  };
  drawAll();
  document.addEventListener("htmx:afterSwap", drawAll);
  let resizing;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(drawAll, 150); });

  for (const box of document.querySelectorAll("input[data-kind]")) {
    box.addEventListener("change", () => {
      for (const entry of document.querySelectorAll(`.entry[data-kind="${box.dataset.kind}"]`)) entry.hidden = !box.checked;
    });
  }

  // What cannot be undone asks first; without scripts, the page that follows asks.
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });

  for (const code of document.querySelectorAll(".copy")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    });
    code.after(button);
  }
})();
