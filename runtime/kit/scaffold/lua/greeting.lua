-- Greets people, and counts how often each of them was greeted.

local greeting = {}

-- The greeting of `name` in the words of the module's settings, with the count. Several requests may do this at once.
function greeting.greet(name)
	local key = "greeted:" .. name
	local before, count
	repeat
		before = kv.get(key)
		count = (before or 0) + 1
	until kv.cas(key, before, count)
	return { message = `{config.get("greeting")}, {name}!`, count = count }
end

-- How many people were greeted.
function greeting.people()
	return #kv.list("greeted:")
end

return greeting
