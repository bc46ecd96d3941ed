-- Pieces of HTML. Whatever is not a literal goes through `escape`.

local html = {}

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

function html.escape(value: any): string
	return (string.gsub(tostring(value), "[&<>\"']", ESCAPES))
end

-- Text for a query parameter, percent-encoded.
function html.query(text: string): string
	return (string.gsub(text, "[^%w%-._~]", function(sign)
		return string.format("%%%02X", string.byte(sign))
	end))
end

-- A whole number with thin spaces between its thousands.
function html.number(value: number): string
	local digits = string.format("%.0f", value)
	local grouped = string.gsub(string.reverse(digits), "(%d%d%d)", "%1 ")
	return (string.gsub(string.reverse(grouped), "^ ", ""):gsub(" ", "&#8239;"))
end

-- A moment, to the minute.
function html.moment(millis: number): string
	local text = time.format(millis)
	return `<time datetime="{html.escape(text)}">{html.escape(string.sub(text, 1, 10))} {html.escape(string.sub(text, 12, 16))}</time>`
end

-- Whether somebody holds a permission, as the runtime reads it: by name, by *, or by a prefix such as analytics.*.
function html.may(principal, permission: string): boolean
	if not principal then
		return false
	end
	for _, held in principal.permissions do
		if held == "*" or held == permission then
			return true
		end
		if string.sub(held, -2) == ".*" and string.sub(permission, 1, #held - 1) == string.sub(held, 1, -2) then
			return true
		end
	end
	return false
end

-- The look of this module's pages, in the shell's theme; the second values are for when there is no shell.
local STYLE = [[<style>
.an{max-width:72rem;margin:0 auto;color:var(--rp-fg,#1c1e21);display:grid;gap:1.25rem}
.an h1{font-size:1.6rem;letter-spacing:-.02em;margin:0}
.an h2{font-size:1rem;margin:0 0 1rem}
.an p{margin:0}
.an a{color:var(--rp-accent,#3b6cf6)}
.an .muted{color:var(--rp-muted,#667)}
.an .head{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:baseline;justify-content:space-between}
.an .live{display:grid;gap:1.25rem}
.an .cards{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr))}
.an .wide{display:grid;gap:1.25rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr))}
.an .card{background:var(--rp-card,#fff);border:1px solid var(--rp-border,#d9dce1);border-radius:var(--rp-radius,10px);padding:1.25rem;min-width:0;overflow-x:auto}
.an .figure{font-size:2rem;font-weight:650;letter-spacing:-.03em;line-height:1.1;font-variant-numeric:tabular-nums}
.an .label{font-size:.85rem;color:var(--rp-muted,#667);margin-bottom:.4rem}
.an .aside{font-size:.85rem;color:var(--rp-muted,#667);margin-top:.35rem}
.an table{width:100%;border-collapse:collapse;font-size:.9rem}
.an th{text-align:left;font-weight:500;font-size:.8rem;color:var(--rp-muted,#667)}
.an th,.an td{padding:.55rem .75rem .55rem 0;border-bottom:1px solid var(--rp-border,#d9dce1);vertical-align:top}
.an table{min-width:36rem}
.an td:first-child{overflow-wrap:anywhere}
.an tr:last-child td{border-bottom:0}
.an td time{white-space:nowrap}
.an .tag{display:inline-block;font-size:.8rem;padding:.1rem .5rem;border:1px solid var(--rp-border,#d9dce1);border-radius:99px}
.an svg{display:block;width:100%;height:auto}
.an svg text{fill:var(--rp-muted,#667);font-size:11px;font-family:inherit}
.an svg .bar{fill:var(--rp-accent,#3b6cf6)}
.an svg .line{stroke:var(--rp-border,#d9dce1);stroke-width:1}
.an .meter{display:grid;grid-template-columns:minmax(6rem,10rem) 1fr auto;gap:.75rem;align-items:center;font-size:.9rem;padding:.3rem 0}
.an .meter span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.an .meter i{display:block;height:.55rem;border-radius:99px;background:var(--rp-accent,#3b6cf6)}
.an .meter b{font-weight:600;font-variant-numeric:tabular-nums}
.an form{display:grid;gap:.9rem}
.an label{display:grid;gap:.3rem;font-size:.85rem;color:var(--rp-muted,#667)}
.an input,.an select,.an textarea{font:inherit;min-width:0;padding:.55rem .7rem;color:var(--rp-fg,#1c1e21);background:var(--rp-bg,#fff);border:1px solid var(--rp-border,#d9dce1);border-radius:calc(var(--rp-radius,10px)*.7)}
.an .pair{display:grid;gap:.9rem;grid-template-columns:1fr 1fr}
.an button{font:inherit;font-weight:600;justify-self:start;padding:.55rem 1.1rem;color:var(--rp-card,#fff);background:var(--rp-accent,#3b6cf6);border:0;border-radius:calc(var(--rp-radius,10px)*.7);cursor:pointer}
.an button[disabled]{opacity:.6;cursor:progress}
.an :is(input,select,textarea,button,a):focus-visible{outline:2px solid var(--rp-accent,#3b6cf6);outline-offset:1px}
.an .said{font-size:.9rem;min-height:1.3em}
.an .said.bad{color:var(--rp-danger,#c0392b)}
.an .empty{padding:1.5rem 0;text-align:center;color:var(--rp-muted,#667)}
</style>]]

-- A page for the shell to wrap.
function html.page(title: string, body: string)
	return {
		headers = { ["x-page-title"] = title, ["cache-control"] = "no-store" },
		body = STYLE .. '<div class="an">' .. body .. "</div>",
	}
end

return html
