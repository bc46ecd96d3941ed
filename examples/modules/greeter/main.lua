local function greet(name)
  local guest = services.call("guests.welcome", name)
  local text = `Hello, {name}!`
  if guest.visits > 1 then
    text = `Welcome back, {name}, for the {guest.visits}. time.`
  end
  return { text = text, visits = guest.visits }
end

return {
  services = { ["greeter.greet"] = function(args) return greet(args.name) end },
  apis = { ["GET /hello/{name}"] = function(req) return { body = greet(req.params.name).text .. "\n" } end },
}
