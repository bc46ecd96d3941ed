-- The page at /analytics/dashboard. Everything is drawn here; the script in it only posts a report through the api and
-- draws the page's figures anew, after a post and every `refreshInterval` seconds.

local chart = require("lib/chart")
local html = require("lib/html")
local metrics = require("lib/metrics")
local report_table = require("lib/report_table")
local reports = require("lib/reports")

local dashboard = {}

local RECENT = 8

local function card(label: string, figure: number, aside: string): string
	return `<div class="card"><p class="label">{html.escape(label)}</p><p class="figure">{html.number(figure)}</p><p class="aside">{aside}</p></div>`
end

local function cards(): string
	local totals = metrics.totals()
	return `<div class="cards">`
		.. card("Reports", totals.reports, `{html.number(totals.reports_today)} today`)
		.. card("Metrics", totals.metrics, "that reports are about")
		.. card("Authors", totals.authors, "who asked for them")
		.. card("API requests", totals.requests, `{html.number(totals.requests_today)} today`)
		.. "</div>"
end

local function period_options(): string
	local parts = {}
	for _, period in reports.PERIODS do
		local selected = if period == "day" then " selected" else ""
		table.insert(parts, `<option{selected}>{html.escape(period)}</option>`)
	end
	return table.concat(parts)
end

-- In order: the longest name, the longest metric, the options of the period, the longest description.
local FORM = [[<section class="card"><h2>New report</h2>
<form id="an-new">
<label>Name<input name="name" required maxlength="%d" autocomplete="off" placeholder="Weekly visitors"></label>
<div class="pair">
<label>Metric<input name="metric" required maxlength="%d" pattern="[a-z][a-z0-9_.\-]*"
  title="a-z first, then a-z, 0-9, dot, dash or underscore" placeholder="visitors"
  autocomplete="off" autocapitalize="none" spellcheck="false"></label>
<label>Period<select name="period">%s</select></label>
</div>
<label>Description<textarea name="description" rows="2" maxlength="%d"></textarea></label>
<button>Store the report</button><p class="said" role="status" id="an-said"></p>
<noscript>This form needs JavaScript; the API at /api/analytics/reports does not.</noscript>
</form></section>]]

local function form(): string
	return string.format(
		FORM,
		reports.NAME_CHARACTERS,
		reports.METRIC_CHARACTERS,
		period_options(),
		reports.DESCRIPTION_CHARACTERS
	)
end

-- `%d` is the refresh interval in seconds.
local SCRIPT = [[<script>
(() => {
  const live = document.getElementById("an-live");
  const form = document.getElementById("an-new");
  const said = document.getElementById("an-said");
  const say = (text, bad) => { said.textContent = text; said.classList.toggle("bad", bad); };

  const refresh = async () => {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok || answer.redirected) return location.reload();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("an-live");
    if (fresh) live.innerHTML = fresh.innerHTML;
  };

  // Stops by itself once the shell has put another page here.
  const timer = setInterval(() => {
    if (!live.isConnected) return clearInterval(timer);
    if (!document.hidden) refresh().catch(() => {});
  }, %d * 1000);

  if (form) form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    const report = Object.fromEntries(new FormData(form));
    if (!report.description) delete report.description;
    button.disabled = true;
    try {
      const answer = await fetch("/api/analytics/reports", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(report),
      });
      const body = await answer.json();
      if (answer.ok) {
        say(`Stored as report ${body.id}.`, false);
        form.reset();
        await refresh();
      } else {
        say(body.detail || body.title, true);
      }
    } catch {
      say("The server could not be reached. Nothing was stored.", true);
    } finally {
      button.disabled = false;
    }
  });
})();
</script>]]

function dashboard.page(req)
	local interval = config.get("refreshInterval")
	local recent = reports.list(RECENT)
	local writes = html.may(req.principal, "analytics.api")
	local all = if html.may(req.principal, "analytics.reports") then '<a href="/analytics/reports">All reports</a>' else ""
	local body = {
		`<div class="head"><h1>Analytics</h1><p class="muted">Refreshes every {html.number(interval)} s</p></div>`,
		'<div class="live" id="an-live">',
		cards(),
		`<div class="wide"><section class="card"><h2>Reports a day</h2>{chart.days(metrics.by_day())}</section>`,
		`<section class="card"><h2>By metric</h2>{chart.metrics(metrics.by_metric(6))}</section></div>`,
		`<section class="card"><div class="head"><h2>Recent reports</h2>{all}</div>{report_table(recent)}</section>`,
		"</div>",
		if writes then form() else "",
		string.format(SCRIPT, math.floor(interval)),
	}
	return html.page("Analytics", table.concat(body))
end

return dashboard
