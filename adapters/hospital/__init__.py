"""The hospital's side: requests from AMQP and HTTP, answers and refusals back."""
